/// A port beside which somebody listens: whatever passes it is recorded, as the guest's card sees it.
///
/// Frames are recorded as they are, unfinished ones without their sums and longer than the wire takes.
package final class CapturePort: NetworkPort {
  private let port: any NetworkPort
  private let file: CaptureFile

  package init(_ port: any NetworkPort, to file: CaptureFile) {
    self.port = port
    self.file = file
  }

  package var maximumTransmissionUnit: Int { port.maximumTransmissionUnit }
  package var offloads: Offloads { port.offloads }
  package func accept(_ offloads: Offloads) { port.accept(offloads) }
  package func attach(_ user: any NetworkPortUser) { port.attach(user) }

  package func send(_ frames: [Frame]) -> Int {
    let count = port.send(frames)
    file.record(frames.prefix(count), .outbound)
    return count
  }

  package func receive(upTo count: Int) -> [Frame] {
    let frames = port.receive(upTo: count)
    file.record(frames, .inbound)
    return frames
  }
}
