import HostOS
import Kit
import Logging
import Monitor
import SoftwareEngine
import Streams
import Synchronization

/// A machine that runs one guest to its end, and what there was to see.
struct GuestMachine {
  var processors = 1
  var memory: UInt64 = 64 << 20
  /// Longer than any guest takes on a busy machine; one that is stuck ends here.
  var patience: Duration = .seconds(120)

  struct Run: Sendable {
    let reason: ExitReason
    let text: String
    var lines: [Substring] { text.split(separator: "\n") }
  }

  /// Runs until the guest ends the machine or `isEnough` finds in its text what it waits for.
  func run(
    _ kernel: VMConfiguration.Kernel,
    until isEnough: @escaping @Sendable (String) -> Bool = { _ in false }
  ) async throws -> Run {
    let configuration = VMConfiguration(
      memory: MemorySize(bytes: memory), processors: processors, boot: .kernel(kernel),
      debugExitPort: 0xf4, restartsOnReset: false)
    let loop = try EventLoop(name: "guest devices")
    defer { loop.stop() }
    let console = RecordingStream()
    let nothing = RecordingStream()
    let machine = try VirtualMachine(
      configuration, engine: SoftwareEngine(), loop: loop,
      backends: PC.Backends(serial: [console, nothing, nothing, nothing]),
      log: Logger(label: "guest") { _ in SwiftLogNoOpLogHandler() })
    try await machine.start()
    let deadline = ContinuousClock.now + patience
    let watch = Task {
      while !Task.isCancelled, ContinuousClock.now < deadline, !isEnough(console.text) {
        try? await Task.sleep(for: .milliseconds(20))
      }
      if !Task.isCancelled { await machine.stop() }
    }
    let reason = await machine.end()
    watch.cancel()
    return Run(reason: reason, text: console.text)
  }
}

extension RecordingStream {
  var text: String { String(decoding: sent, as: UTF8.self) }
}
