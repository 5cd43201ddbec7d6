import Board
import Disks
import HostOS
import Virtio

extension DiskRequest {
  /// Opens the image, and keeps others off it.
  func open(as name: String, _ host: HostAccess) throws -> OpenedDevice {
    let image: any DiskImage
    do throws(ImageError) {
      image = try openImage()
    } catch {
      throw ConfigurationError("--disk path=\(path)", error.description)
    }
    let disk = QueuedDisk(image, isReadOnly: isReadOnly, pool: host.pool)
    let (serial, queues) = (serial ?? name, queues)
    return OpenedDevice(
      name: name, bus: bus,
      obstacleToSaving: overlay == nil
        ? nil : "what was written to the disk \(path) is in memory alone (overlay=memory)",
      make: { board in
        VirtioBlock(disk: disk, serial: serial, queues: queues, loop: board.loop)
      },
      close: { if !image.isReadOnly { try image.flush() } })
  }

  private func openImage() throws(ImageError) -> any DiskImage {
    let isWritable = !isReadOnly && overlay == nil
    let image: any DiskImage =
      switch format {
      case .raw: try RawImage.open(path, writable: isWritable, cache: cache.mode)
      case .qcow2: throw ImageError.refused("not yet")
      }
    return overlay == .memory ? OverlayImage(over: image) : image
  }
}

extension DiskRequest.Cache {
  var mode: CacheMode {
    switch self {
    case .writeback: .writeback
    case .writethrough: .writethrough
    case .direct: .direct
    case .unsafe: .unsafe
    }
  }
}
