package import HostOS
import Synchronization

/// The terminal that the process was started at, in raw mode, with an escape key for the machine.
///
/// Keys are always read, so that the escape key works whatever the guest does. Keys that the guest does
/// not take are kept up to a limit.
package final class TerminalStream: HostStream {
  private let output: OutputPump
  private let input: InputPump
  private let keys: Keys
  private let user: StreamUser

  /// Puts the terminal into raw mode. `obey` runs on the stream's own thread.
  package init(
    input: Descriptor, output: Descriptor, _ obey: @escaping @Sendable (ConsoleCommand) -> Void
  ) throws(HostError) {
    let user = StreamUser()
    let keys = Keys()
    let pump = try OutputPump(to: output) { user.tell(.maySend) }
    self.user = user
    self.keys = keys
    self.output = pump
    try Terminal.enterRawMode(input)
    self.input = try InputPump(from: input) { bytes in
      for effect in keys.take(bytes) {
        switch effect {
        case .toGuest: user.tell(.mayReceive)
        case .command(let command): obey(command)
        case .show(let text): pump.insist(Self.screen(text))
        }
      }
    }
  }

  package func send(_ bytes: [UInt8]) -> Int { output.send(bytes) }
  package func receive(upTo count: Int) -> [UInt8] { keys.receive(count) }

  package func attach(_ user: any ByteStreamUser) {
    self.user.attach(user)
    self.user.tell(.mayReceive)
  }

  /// Shows a text of ours between those of the guest; its lines end in a line feed.
  package func show(_ text: String) { output.insist(Self.screen(text)) }

  package func close() -> HostError? {
    input.close()
    defer { Terminal.leaveRawMode() }
    return output.close()
  }

  /// A terminal in raw mode takes a line feed for what it says: one line down, same column.
  private static func screen(_ text: String) -> [UInt8] {
    text.utf8.flatMap { $0 == 0x0a ? [0x0d, 0x0a] : [$0] }
  }
}

/// Keys on their way to the guest.
private final class Keys: Sendable {
  private let state = Mutex((machine: EscapeKeys(), queue: ByteQueue(capacity: 1 << 20)))

  func take(_ bytes: [UInt8]) -> [EscapeKeys.Effect] {
    state.withLock { state in
      let effects = state.machine.take(bytes)
      for case .toGuest(let keys) in effects { _ = state.queue.append(keys) }
      return effects
    }
  }

  func receive(_ count: Int) -> [UInt8] { state.withLock { $0.queue.take(count) } }
}
