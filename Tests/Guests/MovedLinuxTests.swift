import ArchitectureX86
import Foundation
import HostOS
import KVM
import Kit
import Logging
import Monitor
import Streams
import Testing

/// Debian's kernel, booted on our own processor, goes to KVM and back at its shell.
extension MachineTests.MovedGuestTests {
  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing), .onEngine(.kvm))
  func `Linux answers at its shell on each engine`() async throws {
    let loop = try EventLoop(name: "guest devices")
    defer { loop.stop() }
    let console = RecordingStream()
    var configuration = VMConfiguration(
      memory: MemorySize(bytes: 512 << 20), boot: .kernel(try LinuxFiles.kernel("")),
      restartsOnReset: false)
    if let counter = try KVMHost().counter {
      configuration.model.tscFrequency = counter.frequency
      configuration.startsWithHostCounter = counter.isHosts
    }
    let machine = try VirtualMachine(
      configuration, engine: EngineKind.software.makeEngine(), loop: loop,
      backends: PC.Backends(serial: [console] + (0..<3).map { _ in NullStream() }),
      log: Logger(label: "guest") { _ in SwiftLogNoOpLogHandler() })
    try await machine.start()
    #expect(await hears("roost:~# ", on: console))
    for (number, engine) in [EngineKind.software, .kvm, .software, .kvm, .software].enumerated() {
      if number > 0 { try await machine.move(to: engine.makeEngine()) }
      // The shell adds up, so that its echo of what is typed is no answer.
      console.deliver(Array("echo answer-$((\(number) + 70))\r".utf8))
      let answers = await hears("answer-\(number + 70)", on: console)
      #expect(
        answers, "on \(engine): \(String(decoding: console.sent.suffix(2000), as: UTF8.self))")
    }
    console.deliver(Array("poweroff -f\r".utf8))
    let watch = Task {
      try await Task.sleep(for: .seconds(600))
      await machine.stop()
    }
    #expect(await machine.end() == .poweredOff)
    watch.cancel()
  }

  private func hears(_ text: String, on console: RecordingStream) async -> Bool {
    for _ in 0..<6000 {
      if String(decoding: console.sent, as: UTF8.self).contains(text) { return true }
      try? await Task.sleep(for: .milliseconds(20))
    }
    return false
  }
}
