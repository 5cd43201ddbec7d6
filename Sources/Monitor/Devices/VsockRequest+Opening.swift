import HostOS
import Streams
import Virtio

extension VsockRequest {
  /// Listens for the host's processes.
  func open(as name: String, _ host: HostAccess) throws -> OpenedDevice {
    let relay: VsockRelay
    do throws(HostError) {
      relay = try VsockRelay(path: socket, on: host.loop)
    } catch {
      throw ConfigurationError("--vsock socket=\(socket)", "Roost \(error).")
    }
    let (cid, loop) = (cid, host.loop)
    return OpenedDevice(
      name: name, request: .vsock(self), make: { _ in VirtioSocket(guestCID: cid, host: relay) },
      close: {
        let closed = Event()
        loop.post {
          relay.close()
          closed.signal()
        }
        closed.wait()
      })
  }
}
