import Foundation
import Monitor
import Testing

/// A guest whose drivers break every rule: whatever they do, the machine lives on, and each device works once it was
/// reset. The guest finds that out itself; see Programs/VirtioViolations.swift.
extension MachineTests.HostileGuestTests {
  @Test(.onEngine(.kvm)) func `drivers misbehave on KVM`() {}

  @Test(arguments: EngineKind.available)
  func `devices over MMIO withstand a driver that keeps no rule`(_ engine: EngineKind) async throws
  {
    try await withstand("mmio", ["block", "network", "console", "entropy", "balloon"], on: engine)
  }

  @Test(arguments: EngineKind.available)
  func `devices over PCI withstand a driver that keeps no rule`(_ engine: EngineKind) async throws {
    try await withstand(
      "pci",
      ["block", "network", "console", "entropy", "balloon", "9p", "file-system", "socket"],
      on: engine)
  }

  private func withstand(_ bus: String, _ kinds: [String], on engine: EngineKind) async throws {
    let folder = try Folder()
    let sectors = Self.knownSectors
    let disk = try folder.add("disk.raw", sectors + [UInt8](repeating: 0, count: 64 * 512))
    var devices = [
      DeviceRequest.disk(try DiskRequest(parsing: "path=\(disk)")),
      .network(try NetworkRequest(parsing: "user"), forwards: []), .console, .entropy, .entropy,
      .balloon,
    ]
    if bus == "pci" {
      for (type, tag) in [("9p", "plan"), ("virtiofs", "fuse")] {
        try FileManager.default.createDirectory(
          atPath: "\(folder.path)/\(tag)", withIntermediateDirectories: false)
        devices.append(
          .share(try ShareRequest(parsing: "path=\(folder.path)/\(tag),tag=\(tag),type=\(type)")))
      }
      devices.append(.vsock(try VsockRequest(parsing: "cid=3,socket=\(folder.path)/socket")))
    }
    let machine = GuestMachine(
      devices: devices, bus: DeviceBus(rawValue: bus), console: EchoStream(), engines: [engine])
    let isSlow = engine.emulatesKernelMode
    let run = try await machine.run(
      .program("virtio-\(bus)-violations\(isSlow ? " sparsely" : "")"))
    #expect(run.reason == .debugExit(0x10), "\(run.text)")
    #expect(!run.lines.contains { $0.hasPrefix("FAIL") }, "\(run.text)")
    let least = isSlow ? 50 : 800
    for kind in kinds {
      let line = run.lines.first { $0.hasPrefix("ok   virtio-\(bus) \(kind) withstands ") }
      let numbers = (line ?? "").split { !$0.isNumber }.compactMap { Int($0) }.suffix(2)
      #expect(numbers.first ?? 0 >= least, "too few violations of \(kind):\n\(run.text)")
      // Else they were none.
      #expect(numbers.last ?? 0 >= least / 4, "too few were noticed of \(kind):\n\(run.text)")
    }
    #expect(try folder.read(disk).starts(with: sectors), "a sector changed that no request named")
  }

  /// The sectors that the guest only reads: words that follow from where they are.
  private static var knownSectors: [UInt8] {
    (0..<64 as Range<UInt64>).flatMap { sector in
      (0..<64 as Range<UInt64>).flatMap { index in
        let word = (sector << 32 | index) &* 0x9e37_79b9_7f4a_7c15
        return (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
      }
    }
  }
}
