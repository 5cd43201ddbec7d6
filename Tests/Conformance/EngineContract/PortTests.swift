import ArchitectureX86
import Board
import Testing

/// Accesses to ports: SDM Vol. 1 chapter 19.
extension EngineContract {
  @Suite struct PortTests {
    private typealias Place = Rig.Place

    private func rig(_ engine: EngineUnderTest) throws -> (Rig, Recorder) {
      let rig = try Rig(engine)
      let device = Recorder()
      rig.ports.map(device, at: 0x100..<0x110)
      return (rig, device)
    }

    @Test(arguments: EngineUnderTest.available)
    func `IN and OUT move bytes, words and doublewords`(_ engine: EngineUnderTest) throws {
      let (rig, device) = try rig(engine)
      device.set(0x8182_8384, at: 4)
      let state = try rig.run { code in
        code.move(.rdx, 0x104)
        for (size, register) in [
          (Assembler.Size.byte, X86.Register.rcx), (.word, .rsi), (.doubleword, .rdi),
        ] {
          code.move(.rax, .max)
          code.input(size)
          code.move(register, .rax)
        }
        code.move(.rax, 0x1122_3344_5566_7788)
        for size in [Assembler.Size.byte, .word, .doubleword] { code.output(size) }
      }
      #expect(state[.rcx] == 0xffff_ffff_ffff_ff84)
      #expect(state[.rsi] == 0xffff_ffff_ffff_8384)
      #expect(state[.rdi] == 0x8182_8384)
      #expect(
        device.seen == [
          .read(4, .byte, 0x84), .read(4, .word, 0x8384), .read(4, .doubleword, 0x8182_8384),
          .write(4, .byte, 0x88), .write(4, .word, 0x7788), .write(4, .doubleword, 0x5566_7788),
        ])
    }

    @Test(arguments: EngineUnderTest.available)
    func `a port where nothing answers reads as ones`(_ engine: EngineUnderTest) throws {
      let (rig, _) = try rig(engine)
      let state = try rig.run { code in
        code.move(.rdx, 0x200)
        code.move(.rax, 0)
        code.input(.doubleword)
        code.move(.rcx, .rax)
        code.output(.word)
      }
      #expect(state[.rcx] == 0xffff_ffff)
    }

    @Test(arguments: EngineUnderTest.available, [Assembler.Size.byte, .word, .doubleword])
    func `OUTS with REP writes each element in order`(
      _ engine: EngineUnderTest, _ size: Assembler.Size
    ) throws {
      let (rig, device) = try rig(engine)
      let bytes = (0..<64).map { UInt8($0 + 1) }
      try rig.write(bytes, at: Place.data)
      let width = try #require(AccessWidth(rawValue: UInt8(size.rawValue)))
      for isDown in [false, true] {
        let first = Place.data + (isDown ? 9 * width.bytes : 0)
        let before = device.seen.count
        let state = try rig.run { code in
          code.setDirection(isDown)
          code.move(.rdx, 0x100)
          code.move(.rsi, first)
          code.move(.rcx, 10)
          code.repeatOutput(size)
          code.setDirection(false)
        }
        let elements = (0..<10).map { index -> Recorder.Seen in
          let at = (isDown ? 9 - index : index) * size.rawValue
          let value = bytes[at..<at + size.rawValue].reversed().reduce(UInt64(0)) {
            $0 << 8 | UInt64($1)
          }
          return .write(0, width, value)
        }
        #expect(device.seen.dropFirst(before) == ArraySlice(elements))
        #expect(state[.rcx] == 0)
        let moved = 10 * width.bytes
        #expect(state[.rsi] == (isDown ? first &- moved : first + moved))
      }
    }

    @Test(arguments: EngineUnderTest.available, [Assembler.Size.byte, .word, .doubleword])
    func `INS with REP reads each element in order`(
      _ engine: EngineUnderTest, _ size: Assembler.Size
    ) throws {
      let rig = try Rig(engine)
      let device = Counter()
      rig.ports.map(device, at: 0x100..<0x104)
      let step = UInt64(size.rawValue)
      for isDown in [false, true] {
        let first = Place.data + 0xff8 + (isDown ? 9 * step : 0)  // over the border of a page
        let state = try rig.run { code in
          code.setDirection(isDown)
          code.move(.rdx, 0x100)
          code.move(.rdi, first)
          code.move(.rcx, 10)
          code.repeatInput(size)
          code.setDirection(false)
        }
        #expect(state[.rcx] == 0)
        #expect(state[.rdi] == (isDown ? first &- 10 * step : first + 10 * step))
        let start: UInt64 = isDown ? 11 : 1
        for index in 0..<UInt64(10) {
          let at = isDown ? first - index * step : first + index * step
          #expect(try rig.read(at) & 0xff == start + index)
        }
      }
      #expect(device.count == 20)
    }

    @Test(arguments: EngineUnderTest.available)
    func `REP with a count of zero does nothing`(_ engine: EngineUnderTest) throws {
      let (rig, device) = try rig(engine)
      let state = try rig.run { code in
        code.move(.rdx, 0x100)
        code.move(.rsi, Place.data)
        code.move(.rcx, 0)
        code.repeatOutput(.byte)
      }
      #expect(state[.rsi] == Place.data)
      #expect(device.seen.isEmpty)
    }
  }
}
