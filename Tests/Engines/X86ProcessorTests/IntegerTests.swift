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

    @Test(arguments: InstructionGroup.all.filter { $0.modes.contains(.bits64) })
    func `64-bit instructions do what the host's processor does`(
      _ group: InstructionGroup
    ) throws { try compare(group, .bits64) }

    @Test(arguments: InstructionGroup.all.filter { $0.modes.contains(.bits32) })
    func `32-bit instructions do what the host's processor does`(
      _ group: InstructionGroup
    ) throws { try compare(group, .bits32) }

    @Test(arguments: InstructionGroup.all.filter { $0.modes.contains(.bits16) })
    func `16-bit instructions do what the host's processor does`(
      _ group: InstructionGroup
    ) throws { try compare(group, .bits16) }

    private func compare(_ group: InstructionGroup, _ mode: CodeMode) throws {
      let comparison = try #require(
        IntegerComparison(), "the host refused executable memory at fixed addresses")
      let count = Self.number("ROOST_DIFF_COUNT", else: mode == .bits64 ? 4000 : 1500)
      let seed = Self.number("ROOST_DIFF_SEED", else: 1)
      let differences = comparison.run(group, mode, count: count, seed: seed &* 1_000_003)
      for difference in differences { Issue.record(Comment(rawValue: difference)) }
    }
  }

  /// The two processors side by side.
  final class IntegerComparison {
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
      describeLocalSegments()
      var random = SeededNumbers(seed: 99)
      for offset in stride(from: 0, to: dataSize, by: 8) {
        let value = offset % 4096 < 2048 ? random.next() : random.next() & 0x0101_0101_0001_0101
        host.data.storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
      }
      guestData.copyMemory(from: host.data, byteCount: dataSize)
    }

    /// Describes the first few differences.
    func run(
      _ group: InstructionGroup, _ mode: CodeMode, count: UInt64, seed: UInt64
    ) -> [String] {
      // In 16-bit code addresses are offsets in segments of the local table.
      let isShort = mode == .bits16
      let data = isShort ? 0 : Place.data
      let code = isShort ? 0 : Place.code
      var differences: [String] = []
      for index in 0..<count {
        var random = SeededNumbers(seed: seed &+ index)
        // Sometimes across the end of a page.
        let offset = random.chance(1, in: 8) ? 0x1000 - UInt64(random.below(20)) : 0x100
        var builder = SampleBuilder(
          seed: random.next(), mode: mode, start: code + offset,
          data: data..<data + Place.dataSize, gsBase: HostProcessor.gsBase)
        if random.chance(1, in: 2) { builder.flagProducer() }
        group.make(&builder)
        if random.chance(1, in: 2) { builder.flagConsumer() }
        var difference = compare(builder.sample, at: offset, start: code + offset)
        // The host is not interrupted three times at the same place.
        for _ in 0..<2 where difference != nil && builder.sample.isDisturbedByInterrupts {
          difference = compare(builder.sample, at: offset, start: code + offset)
        }
        if let difference {
          differences.append("\(group.name), sample \(index): \(difference)")
          if differences.count == 5 { break }
        }
      }
      return differences
    }

    /// The guest's local table: what the host's system call made there.
    private func describeLocalSegments() {
      let table = TestMachine.Place.localDescriptors
      func descriptor(_ base: UInt64, _ limit: UInt64, _ rights: UInt64) -> UInt64 {
        limit | (base & 0xff_ffff) << 16 | rights << 40 | (base >> 24) << 56
      }
      guest.write(descriptor(Place.data, Place.dataSize - 1, 0xf3), at: table)
      guest.write(descriptor(Place.code, Place.codeSize - 1, 0xfb), at: table + 8)
      guest.cpu.pointee.ldtr_selector = 0x48
      guest.cpu.pointee.ldtr_base = table
      guest.cpu.pointee.ldtr_limit = 15
    }

    /// Segments as the host has them in the mode.
    private func setSegments(_ mode: CodeMode) {
      typealias Selector = HostProcessor.Selector
      guest.setPrivilege(3)
      guest.cpu.set(Slot.segmentBase + 40, HostProcessor.gsBase)
      guard mode != .bits64 else { return }
      let isShort = mode == .bits16
      guest.cpu.setSegment(
        1, selector: isShort ? Selector.localCode : Selector.code32,
        base: isShort ? Place.code : 0, limit: isShort ? Place.codeSize - 1 : 0xffff_ffff,
        attributes: isShort ? 0xfb : 0xc0fb)
      for segment in [0, 2, 3] {
        guest.cpu.setSegment(
          segment, selector: isShort ? Selector.localData : Selector.data,
          base: isShort ? Place.data : 0, limit: isShort ? Place.dataSize - 1 : 0xffff_ffff,
          attributes: isShort ? 0xf3 : 0xc0f3)
      }
      guest.core.modeChanged()
    }

    private func compare(_ sample: Sample, at offset: UInt64, start: UInt64) -> String? {
      let end = start + UInt64(sample.bytes.count)
      // The host leaves by a jump, the guest by HLT, which user code may not execute.
      let native = sample.bytes + host.way(out: end, sample.mode)
      (host.code + Int(offset)).copyMemory(from: native, byteCount: native.count)
      guest.write(sample.bytes + [0xf4], at: TestMachine.Place.code + offset)

      var expected = sample.registers
      let result = host.run(from: start, sample.mode, &expected, flags: sample.flags)

      setSegments(sample.mode)
      guest.registers = sample.registers
      guest.cpu.rflags = sample.flags
      let stop = guest.run(from: guest.cpu.segmentBase(1) + start)
      guard stop == .halted, let vector = guest.haltedVector, let frame = guest.frame else {
        return describe(sample, "the guest \(stop) at \(hex(guest.cpu.pointee.rip))")
      }
      var actual = guest.registers
      actual[4] = frame.rsp

      var complaints: [String] = []
      let ended = vector == 13 && frame.rip == end
      if let exception = result.vector {
        if ended {
          complaints.append("exception \(exception) did not come")
        } else if let code = frame.code, exception == vector, exception != 14,
          code != result.errorCode
        {
          complaints.append("error code \(hex(code)) instead of \(hex(result.errorCode))")
        } else if exception != vector || result.rip != frame.rip {
          complaints.append(
            "exception \(vector) at \(hex(frame.rip)) instead of \(exception) at \(hex(result.rip))"
          )
        }
      } else if !ended {
        complaints.append(
          "exception \(vector) (\(frame.code.map(hex) ?? "no code")) at \(hex(frame.rip)), CR2 "
            + hex(guest.cpu.pointee.cr2))
      }
      // Upper halves, and registers that only 64-bit code has, are undefined after other code.
      let isLong = sample.mode == .bits64
      let mask: UInt64 = isLong ? .max : 0xffff_ffff
      for register in 0..<(isLong ? 16 : 8)
      where actual[register] & mask != expected[register] & mask {
        if sample.undefinedRegisters >> UInt16(register) & 1 == 1 { continue }
        if sample.undefinedIfZero == register, result.flags & X86.Flags.zero != 0 { continue }
        complaints.append(
          "register \(register) \(hex(actual[register])) instead of \(hex(expected[register]))")
      }
      let ignored = sample.undefinedFlags | X86.Flags.resume
      if (frame.flags ^ result.flags) & ~ignored != 0 {
        complaints.append(
          "flags \(hex(frame.flags & ~ignored)) instead of \(hex(result.flags & ~ignored))")
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
