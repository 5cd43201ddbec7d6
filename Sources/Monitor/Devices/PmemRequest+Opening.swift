import Board
import Disks
import HostOS
import Memory
import Virtio

extension PmemRequest {
  /// Opens the file, maps it, and keeps others off it.
  func open(as name: String, _ host: HostAccess) throws -> OpenedDevice {
    let file = try openFile()
    let size = try size(of: file)
    let mapping: FileMapping
    let image: RawImage
    do throws(HostError) {
      mapping = try FileMapping(
        file, overlay == .memory ? .overlaid : isReadOnly ? .readOnly : .shared, count: size)
      image = try RawImage(file, mapping: overlay == nil ? mapping : nil)
    } catch {
      throw ConfigurationError(option, "It cannot be mapped (\(error.reason)).")
    }
    let disk =
      overlay == .memory
      ? QueuedDisk(OverlayImage(over: image), pool: host.pool)
      : QueuedDisk(image, isReadOnly: isReadOnly, pool: host.pool)
    var request = self
    request.size = size
    return OpenedDevice(
      name: name, request: .pmem(request), mapping: mapping,
      obstacleToSaving: overlay == nil
        ? nil : "what was written to \(path) is in memory alone (overlay=memory)",
      make: { board in
        guard let range = board.memory.range(of: mapping) else {
          throw ConfigurationError(
            "--pmem path=\(file.path)", "The machine was made without this memory.")
        }
        return VirtioPersistentMemory(range, flushing: disk, loop: board.loop)
      },
      // Whatever became of the guest's last writes is known then.
      close: { if !image.isReadOnly { try image.flush() } })
  }

  private var option: String { "--pmem path=\(path)" }

  private func openFile() throws(ConfigurationError) -> StorageFile {
    if ImageFormat(named: path) == .qcow2 {
      throw ConfigurationError(
        option, "Persistent memory is a file's bytes as they are: convert the image to raw first.")
    }
    let isWritable = !isReadOnly && overlay == nil
    do throws(ImageError) {
      let file: StorageFile
      do throws(HostError) {
        file = try StorageFile.open(path, isWritable ? .writable : [])
      } catch {
        throw ImageError(error)
      }
      try ImageLock.take(on: file)
      return file
    } catch {
      throw ConfigurationError(option, error.description)
    }
  }

  /// The file's size, which must suit; its storage is set aside, as memory cannot say that there is none left.
  private func size(of file: StorageFile) throws(ConfigurationError) -> UInt64 {
    let found: UInt64
    do throws(HostError) {
      found = try file.size()
    } catch {
      throw ConfigurationError(option, "Roost \(error).")
    }
    guard found > 0, found.isMultiple(of: Self.granularity) else {
      throw ConfigurationError(
        option,
        "The file has \(found) bytes: give it a size that is a multiple of 2 MiB, which roost image resize does."
      )
    }
    guard size == nil || size == found else {
      throw ConfigurationError(
        option,
        "The file has \(found) bytes, and had \(size ?? 0) when the machine was saved: give it that size again."
      )
    }
    guard file.isWritable, file.kind == .regular else { return found }
    do throws(HostError) {
      try file.reserve(0..<found)
    } catch {
      // Some file systems keep no storage aside; on those the guest may meet a full one.
      guard error.isUnsupported else {
        throw ConfigurationError(
          option,
          "The host cannot keep room for all of the file (\(error.reason)): make room, or add overlay=memory."
        )
      }
    }
    return found
  }
}
