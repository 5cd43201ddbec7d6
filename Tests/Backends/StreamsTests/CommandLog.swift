import Streams
import Synchronization

/// Notes what a person at the terminal asked for.
final class CommandLog: Sendable {
  private let commands = Mutex<[ConsoleCommand]>([])

  func add(_ command: ConsoleCommand) { commands.withLock { $0.append(command) } }
  var all: [ConsoleCommand] { commands.withLock { $0 } }
}
