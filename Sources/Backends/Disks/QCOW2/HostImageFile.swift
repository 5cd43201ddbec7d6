package import HostOS

/// A file of the host under an image format.
package final class HostImageFile: ImageFile {
  private let file: PositionalFile

  package init(_ file: PositionalFile) { self.file = file }

  package var isReadOnly: Bool { file.isReadOnly }
  package var alignment: Int { file.alignment }

  package func length() throws(DiskError) -> UInt64 {
    do throws(HostError) { return try file.length() } catch { throw DiskError(error) }
  }

  package func read(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64
  ) throws(DiskError) {
    do throws(HostError) { try file.read(parts, at: offset) } catch { throw DiskError(error) }
  }

  package func readAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool {
    file.readAtOnce(parts, at: offset)
  }

  package func write(
    _ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64
  ) throws(DiskError) {
    do throws(HostError) { try file.write(parts, at: offset) } catch { throw DiskError(error) }
  }

  package func flush() throws(DiskError) {
    do throws(HostError) { try file.sync() } catch { throw DiskError(error) }
  }

  package func setLength(_ length: UInt64) throws(DiskError) {
    do throws(HostError) { try file.setLength(length) } catch { throw DiskError(error) }
  }

  package func punch(_ range: Range<UInt64>) -> Bool { file.punch(range) }
}
