import Glibc
import HostOS
import KVM
import Testing

private let isKVMUsable = (try? KVMHost()) != nil

@Suite(.serialized, .enabled(if: isKVMUsable, "there is no KVM that this user may open"))
struct KVMProbeTests {
  @Test func `a probe has a verdict that fits its figures`() throws {
    let probe = KVMProbe(try KVMHost())
    switch probe.verdict {
    case .native: #expect(probe.instructionsPerSecond >= KVMProbe.nativeSpeed)
    case .emulated:
      #expect(probe.instructionsPerSecond > 0)
      #expect(probe.instructionsPerSecond < KVMProbe.nativeSpeed)
    case .broken: #expect(probe.instructionsPerSecond == 0)
    }
    #expect((probe.counter?.frequency ?? 1_000_000_000) > 10_000_000)
  }

  @Test func `probes leave no handle and no mapping behind`() throws {
    let host = try KVMHost()
    var times: [UInt64] = []
    _ = KVMProbe(host)
    let before = try Self.traces()
    for _ in 0..<20 { times.append(KVMProbe(host).time) }
    // Other tests may hold some of their own; a probe that left one thing behind would leave twenty.
    #expect(try Self.traces() < before + 20)
    // Other work on the machine may hold up some, not all.
    #expect(times.min() ?? 0 < 10_000_000)
  }

  /// KVM's handles and mappings in this process.
  private static func traces() throws -> Int {
    let maps = try HostFile.contents(of: "/proc/self/maps", limit: 16 << 20)
    let mappings = String(decoding: maps, as: UTF8.self).split(separator: "\n")
      .count { $0.contains("kvm") }
    var handles = 0
    for handle in 0..<1024 {
      var target = [CChar](repeating: 0, count: 256)
      let length = readlink("/proc/self/fd/\(handle)", &target, target.count)
      guard length > 0 else { continue }
      let name = String(decoding: target[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
      if name.contains("kvm") { handles += 1 }
    }
    return mappings + handles
  }
}
