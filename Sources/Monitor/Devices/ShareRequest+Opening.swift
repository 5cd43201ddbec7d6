import Board
import HostOS
import Shares
import Virtio

extension ShareRequest {
  /// Opens the folder, which stays the same one whatever becomes of its name.
  func open(as name: String, _ host: HostAccess) throws -> OpenedDevice {
    let plan = SharePlan(path: path, isReadOnly: isReadOnly)
    let server: any Share
    do throws(HostError) {
      server =
        switch transport {
        case .virtiofs: try FUSEServer(plan)
        case .nineP: try NinePServer(plan)
        }
    } catch {
      throw ConfigurationError(
        "--share path=\(path)", "The folder cannot be shared (\(error.reason)): name another.")
    }
    let (tag, transport, pool) = (tag, transport, host.pool)
    return OpenedDevice(name: name, request: .share(self)) { board in
      let share = QueuedShare(server, pool: pool, loop: board.loop)
      switch transport {
      case .virtiofs: return VirtioFileSystem(tag: tag, share: share, loop: board.loop)
      case .nineP: return VirtioNineP(tag: tag, share: share, loop: board.loop)
      }
    }
  }
}
