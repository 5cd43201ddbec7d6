#if arch(x86_64) && os(Linux)
  import ArchitectureX86
  import CProcessor
  import Glibc
  import Synchronization
  import Testing

  @testable import X86Processor

  /// Random integer instructions, executed by the host's processor and by ours, which must agree in every
  /// register, defined flag, byte of memory, and exception.
  ///
  /// `ROOST_DIFF_COUNT` is how many samples each group gets, `ROOST_DIFF_SEED` what they start from.
  @Suite(.serialized)
  struct IntegerTests {
    private static func number(_ name: String, else standard: UInt64) -> UInt64 {
      getenv(name).flatMap { UInt64(String(cString: $0)) } ?? standard
    }

    @Test(arguments: InstructionGroup.all)
    func `instructions do what the host's processor does`(_ group: InstructionGroup) throws {
      let comparison = try #require(
        Comparison(), "the host refused executable memory at fixed addresses")
      let count = Self.number("ROOST_DIFF_COUNT", else: 7_500)
      let seed = Self.number("ROOST_DIFF_SEED", else: 1)
      let differences = comparison.run(group, count: count, seed: seed &* 1_000_003)
      for difference in differences { Issue.record(Comment(rawValue: difference)) }
    }
  }

  /// The two processors side by side.
  private final class Comparison {
    private typealias Place = HostProcessor.Place

    private let host: HostProcessor
    private let guest = TestMachine()
    private let dataSize = Int(Place.dataSize)
    private let guestData: UnsafeMutableRawPointer

    init?() {
      guard let host = HostProcessor() else { return nil }
      self.host = host
      for page in 0..<Place.dataSize >> 12 {
        guest.map(Place.data + page << 12, to: TestMachine.Place.data + page << 12, 7)
      }
      for page in 0..<Place.codeSize >> 12 {
        guest.map(Place.code + page << 12, to: TestMachine.Place.code + page << 12, 7)
      }
      guestData = guest.host(TestMachine.Place.data)
      var random = SeededNumbers(seed: 99)
      for offset in stride(from: 0, to: dataSize, by: 8) {
        let value = offset % 4096 < 2048 ? random.next() : random.next() & 0x0101_0101_0001_0101
        host.data.storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
      }
      guestData.copyMemory(from: host.data, byteCount: dataSize)
    }

    /// Describes the first few differences.
    func run(_ group: InstructionGroup, count: UInt64, seed: UInt64) -> [String] {
      var differences: [String] = []
      for index in 0..<count {
        var random = SeededNumbers(seed: seed &+ index)
        // Sometimes across the end of a page.
        let offset = random.chance(1, in: 8) ? 0x1000 - UInt64(random.below(20)) : 0x100
        var builder = SampleBuilder(
          seed: random.next(), start: Place.code + offset,
          data: Place.data..<Place.data + Place.dataSize, gsBase: HostProcessor.gsBase)
        if random.chance(1, in: 2) { builder.flagProducer() }
        group.make(&builder)
        if random.chance(1, in: 2) { builder.flagConsumer() }
        if let difference = compare(builder.sample, at: offset) {
          differences.append("\(group.name), sample \(index): \(difference)")
          if differences.count == 5 { break }
        }
      }
      return differences
    }

    private func compare(_ sample: Sample, at offset: UInt64) -> String? {
      let start = Place.code + offset
      let end = start + UInt64(sample.bytes.count)
      // The host leaves by a jump, the guest by HLT, which user code may not execute.
      let distance = SampleBuilder.bytes(host.exit &- (end + 5), 4)
      (host.code + Int(offset)).copyMemory(
        from: sample.bytes + [0xe9] + distance, byteCount: sample.bytes.count + 5)
      guest.write(sample.bytes + [0xf4], at: TestMachine.Place.code + offset)

      var expected = sample.registers
      let native = host.run(from: start, &expected, flags: sample.flags)

      guest.setPrivilege(3)
      guest.cpu.set(Slot.segmentBase + 40, HostProcessor.gsBase)
      guest.registers = sample.registers
      guest.cpu.rflags = sample.flags
      let stop = guest.run(from: start)
      guard stop == .halted, let vector = guest.haltedVector, let frame = guest.frame else {
        return describe(sample, "the guest \(stop) at \(hex(guest.cpu.pointee.rip))")
      }
      var actual = guest.registers
      actual[4] = frame.rsp

      var complaints: [String] = []
      let ended = vector == 13 && frame.rip == end
      if let exception = native.vector {
        if ended {
          complaints.append("exception \(exception) did not come")
        } else if exception != vector || native.rip != frame.rip {
          complaints.append(
            "exception \(vector) at \(hex(frame.rip)) instead of \(exception) at \(hex(native.rip))"
          )
        }
      } else if !ended {
        complaints.append(
          "exception \(vector) (\(frame.code.map(hex) ?? "no code")) at \(hex(frame.rip)), CR2 "
            + hex(guest.cpu.pointee.cr2))
      }
      for register in 0..<16 where actual[register] != expected[register] {
        if sample.undefinedRegisters >> UInt16(register) & 1 == 1 { continue }
        if sample.undefinedIfZero == register, native.flags & X86.Flags.zero != 0 { continue }
        complaints.append(
          "register \(register) \(hex(actual[register])) instead of \(hex(expected[register]))")
      }
      let ignored = sample.undefinedFlags | X86.Flags.resume
      if (frame.flags ^ native.flags) & ~ignored != 0 {
        complaints.append(
          "flags \(hex(frame.flags & ~ignored)) instead of \(hex(native.flags & ~ignored))")
      }
      if memcmp(guestData, host.data, dataSize) != 0 {
        complaints.append("memory " + firstDifference())
        guestData.copyMemory(from: host.data, byteCount: dataSize)
      }
      return complaints.isEmpty ? nil : describe(sample, complaints.joined(separator: "; "))
    }

    private func firstDifference() -> String {
      for offset in 0..<dataSize {
        let (a, b) = (
          guestData.load(fromByteOffset: offset, as: UInt8.self),
          host.data.load(fromByteOffset: offset, as: UInt8.self)
        )
        if a != b {
          return "\(hex(UInt64(a))) instead of \(hex(UInt64(b))) at "
            + hex(Place.data + UInt64(offset))
        }
      }
      return ""
    }

    private func describe(_ sample: Sample, _ complaint: String) -> String {
      let bytes = sample.bytes.map { hex(UInt64($0)) }.joined(separator: " ")
      let registers = sample.registers.map(hex).joined(separator: " ")
      return "\(complaint)\n  bytes \(bytes)\n  flags \(hex(sample.flags)) registers \(registers)"
    }

    private func hex(_ value: UInt64) -> String { String(value, radix: 16) }
  }
#endif
