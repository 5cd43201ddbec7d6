import ArchitectureX86
import Foundation
import KVM
import Kit
import Monitor
import Testing

#if arch(x86_64)
  /// The same program on the host and in Linux on our processor: Tests/Guests/Floats carries out x87, SSE and AVX
  /// instructions on many operands, runs into their exceptions, and computes while the kernel switches threads. What it
  /// prints in the guest is what it prints here, to the byte.
  extension MachineTests.FloatGuestTests {
    private static let units = ["x87", "sse", "exceptions", "switches"]
    private static let wideUnits = ["avx", "wide-exceptions", "wide-switches"]
    /// Whether the host can be asked about AVX2 and FMA.
    private static let hostIsWide = X86.CPUModel.x86_64v3.isWithinHost

    @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing), arguments: [1, 2])
    func `x87 and SSE do in a guest what they do on the host`(processors: Int) async throws {
      try await compare(Self.units, processors: processors)
    }

    @Test(
      .enabled(if: LinuxFiles.arePresent, LinuxFiles.missing),
      .enabled(if: hostIsWide, "the host's processor has no AVX2 or no FMA to compare with"),
      arguments: [1, 2])
    func `AVX does in a guest what it does on the host`(processors: Int) async throws {
      try await compare(Self.wideUnits, processors: processors)
    }

    private func compare(_ units: [String], processors: Int) async throws {
      let folder = try Folder()
      let program = try #require(Bundle.module.url(forResource: "floats", withExtension: nil))
      _ = try folder.add("floats", [UInt8](Data(contentsOf: program)))
      _ = try folder.add("units", Array(units.joined(separator: "\n").utf8))
      let machine = GuestMachine(
        processors: processors, memory: 128 << 20, model: .x86_64v3.counting,
        devices: [.share(try ShareRequest(parsing: "path=\(folder.path),tag=data"))])
      let run = try await machine.run(LinuxFiles.kernel("quiet no_timer_check roost.test=floats"))
      #expect(run.text.contains("ROOST-TEST: floats ends with status 0"), "\(run.text)")
      for unit in units {
        let guest = String(decoding: try folder.read("\(folder.path)/\(unit)"), as: UTF8.self)
          .split(separator: "\n")
        let (status, output) = try Program.run(program.path(), [unit])
        try #require(status == 0, "\(output)")
        let host = output.split(separator: "\n")
        #expect(host.last == "end" && host.count > 5)
        let different = zip(guest, host).filter { $0 != $1 }
        #expect(
          guest == host,
          """
          \(different.count) of \(host.count) lines of \(unit) differ, the guest's before the host's: \
          \(different.prefix(40).map { "\n\($0)\n\($1)" }.joined())
          """)
      }
    }
  }
#endif
