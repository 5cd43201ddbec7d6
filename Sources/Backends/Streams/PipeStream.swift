package import HostOS
import Synchronization

/// A pair of handles that are no terminal: a shell's pipe, a file, `/dev/null`.
///
/// Input waits in the host until the guest takes it. When it ends, the line falls silent; that is all.
package final class PipeStream: HostStream {
  private let output: OutputPump
  private let input: InputPump
  private let received: PipeInput
  private let user: StreamUser

  package init(input: Descriptor, output: Descriptor) throws(HostError) {
    let user = StreamUser()
    let received = PipeInput()
    self.user = user
    self.received = received
    self.output = try OutputPump(to: output) { user.tell(.maySend) }
    self.input = try InputPump(from: input) { bytes in
      received.put(bytes) { user.tell(.mayReceive) }
    }
  }

  package func send(_ bytes: [UInt8]) -> Int { output.send(bytes) }
  package func receive(upTo count: Int) -> [UInt8] { received.take(count) }

  package func attach(_ user: any ByteStreamUser) {
    self.user.attach(user)
    if !received.isEmpty { self.user.tell(.mayReceive) }
  }

  package func close() -> HostError? {
    received.close()
    input.close()
    return output.close()
  }
}

/// Input on its way to the guest; whoever puts more than fits waits.
private final class PipeInput: Sendable {
  private let state = Mutex((queue: ByteQueue(capacity: 4096), isClosed: false))
  private let room = Event()

  var isEmpty: Bool { state.withLock { $0.queue.isEmpty } }

  func put(_ bytes: [UInt8], _ announce: () -> Void) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let accepted = state.withLock { $0.isClosed ? rest.count : $0.queue.append(rest) }
      rest = rest.dropFirst(accepted)
      if accepted > 0 { announce() } else { room.wait() }
    }
  }

  func take(_ count: Int) -> [UInt8] {
    let bytes = state.withLock { $0.queue.take(count) }
    if !bytes.isEmpty { room.signal() }
    return bytes
  }

  func close() {
    state.withLock { $0.isClosed = true }
    room.signal()
  }
}
