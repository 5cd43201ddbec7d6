import ArgumentParser
import HostOS
import Monitor
import Synchronization

/// Whether the user wants a long command to end. While it is watched for, a signal does not end the process, so that
/// half-made files can be removed.
enum Interruption {
  private static let flag = Atomic<Bool>(false)

  static var hasCome: Bool { flag.load(ordering: .relaxed) }

  /// Runs `body` with signals watched for; if one came, the command ends as one that was stopped from outside.
  static func watched(_ body: () throws -> Bool) throws {
    let loop = try EventLoop(name: "signals")
    defer { loop.stop() }
    let source = try SignalSource([.interrupt, .quit, .terminate, .hangUp], on: loop) { _ in
      flag.store(true, ordering: .relaxed)
    }
    defer { source.cancel() }
    guard try body() else { throw ExitCode(Ending(.stopped).code) }
  }
}
