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
    // Past the page cache, a lone request is quickest where its device's thread waits for the host: such a disk gets a
    // thread of its own, so that nobody waits with it.
    let loop = cache == .direct ? try EventLoop(name: name) : nil
    let disk = QueuedDisk(image, isReadOnly: isReadOnly, pool: host.pool)
    let (serial, queues, waits) = (serial ?? name, queues, full == .wait)
    return OpenedDevice(
      name: name, request: .disk(self), loop: loop,
      obstacleToSaving: overlay == nil
        ? nil : "what was written to the disk \(path) is in memory alone (overlay=memory)",
      make: { board in
        let home = loop ?? board.loop
        let room = waits ? RoomWatch(name, board.clock, on: home, board.log) : nil
        let block = VirtioBlock(
          disk: disk, serial: serial, queues: queues,
          whenFull: room.map { room in .wait { room.hostIsFull() } } ?? .report, loop: home,
          ownsLoop: loop != nil)
        room?.watch(block)
        return block
      },
      // A qcow2 image writes its tables with it, and is closed then.
      close: {
        loop?.stop()
        if !image.isReadOnly { try image.flush() }
      })
  }

  private func openImage() throws(ImageError) -> any DiskImage {
    let opener = ImageOpener(
      format: format.imageFormat, writable: !isReadOnly && overlay == nil, cache: cache.mode)
    let image = try opener.open(path)
    return overlay == .memory ? OverlayImage(over: image) : image
  }
}

extension DiskRequest.Format {
  fileprivate var imageFormat: ImageFormat {
    switch self {
    case .raw: .raw
    case .qcow2: .qcow2
    }
  }
}

extension DiskRequest.Cache {
  fileprivate var mode: CacheMode {
    switch self {
    case .writeback: .writeback
    case .writethrough: .writethrough
    case .direct: .direct
    case .unsafe: .unsafe
    }
  }
}
