package import HostOS
import Memory

extension ImageFormat {
  /// What a file looks like. A device's last bytes are not looked at: it may be longer than what is on it.
  package static func appearance(of file: StorageFile) throws(ImageError) -> Appearance {
    do throws(HostError) {
      let size = try file.size()
      // Whole pages, as direct transfers want them.
      let page = HostBuffer(count: 4096)
      defer { withExtendedLifetime(page) {} }
      let count = try file.read(into: [page.bytes], at: 0)
      let head = Array(page.bytes[..<min(count, headLength)])
      guard file.kind == .regular, !file.isDirect, size >= UInt64(tailLength) else {
        return appearance(head: head)
      }
      let sector = UnsafeMutableRawBufferPointer(rebasing: page.bytes[..<tailLength])
      let left = try file.read(into: [sector], at: size - UInt64(tailLength))
      return appearance(head: head, tail: Array(sector[..<left]))
    } catch {
      throw ImageError(error)
    }
  }
}
