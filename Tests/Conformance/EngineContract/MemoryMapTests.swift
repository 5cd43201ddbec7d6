import ArchitectureX86
import Board
import Memory
import Testing

/// What is memory, what is not, and what becomes of it while processors run.
extension EngineContract {
  @Suite struct MemoryMapTests {
    private typealias Place = Rig.Place

    /// A rig with a device of registers outside memory.
    private func rig(_ engine: EngineUnderTest) throws -> (Rig, Recorder) {
      let rig = try Rig(engine)
      let device = Recorder()
      rig.registers.map(device, at: Place.registers..<Place.registers + 0x1000)
      return (rig, device)
    }

    private func register(_ offset: Int32) -> Assembler.Memory {
      Assembler.Memory(base: .rbx, displacement: offset)
    }

    @Test(arguments: EngineUnderTest.available)
    func `reads outside memory reach the bus in their width`(_ engine: EngineUnderTest) throws {
      let (rig, device) = try rig(engine)
      device.set(0x8182_8384_8586_8788, at: 0x10)
      let state = try rig.run { code in
        code.move(.rbx, Place.registers)
        for register in [X86.Register.rcx, .rsi, .rdi, .r8] { code.move(register, .max) }
        code.load(.rcx, self.register(0x10), .byte)
        code.load(.rsi, self.register(0x10), .word)
        code.load(.rdi, self.register(0x10), .doubleword)
        code.load(.r8, self.register(0x10), .quadword)
        code.extend(.r9, self.register(0x10), .byte, signed: false)
        code.extend(.r10, self.register(0x12), .word, signed: true)
        code.extend(.r11, self.register(0x14), .doubleword, signed: true)
      }
      #expect(state[.rcx] == 0xffff_ffff_ffff_ff88)
      #expect(state[.rsi] == 0xffff_ffff_ffff_8788)
      #expect(state[.rdi] == 0x8586_8788)
      #expect(state[.r8] == 0x8182_8384_8586_8788)
      #expect(state[.r9] == 0x88)
      #expect(state[.r10] == 0xffff_ffff_ffff_8586)
      #expect(state[.r11] == 0xffff_ffff_8182_8384)
      #expect(
        device.seen == [
          .read(0x10, .byte, 0x88), .read(0x10, .word, 0x8788),
          .read(0x10, .doubleword, 0x8586_8788), .read(0x10, .quadword, 0x8182_8384_8586_8788),
          .read(0x10, .byte, 0x88), .read(0x12, .word, 0x8586),
          .read(0x14, .doubleword, 0x8182_8384),
        ])
    }

    @Test(arguments: EngineUnderTest.available)
    func `writes outside memory reach the bus in their width`(_ engine: EngineUnderTest) throws {
      let (rig, device) = try rig(engine)
      try rig.run { code in
        code.move(.rbx, Place.registers)
        code.move(.rcx, 0x1122_3344_5566_7788)
        code.store(.rcx, register(0), .byte)
        code.store(.rcx, register(2), .word)
        code.store(.rcx, register(4), .doubleword)
        code.store(.rcx, register(8), .quadword)
        code.store(-2, register(0x10), .quadword)
        code.store(0x7f, register(0x18), .byte)
      }
      #expect(
        device.seen == [
          .write(0, .byte, 0x88), .write(2, .word, 0x7788), .write(4, .doubleword, 0x5566_7788),
          .write(8, .quadword, 0x1122_3344_5566_7788),
          .write(0x10, .quadword, 0xffff_ffff_ffff_fffe), .write(0x18, .byte, 0x7f),
        ])
    }

    @Test(arguments: EngineUnderTest.available)
    func `what nobody answers reads as ones and swallows writes`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let state = try rig.run { code in
        code.move(.rbx, Place.registers)
        code.store(0, register(0))
        code.load(.rcx, register(0), .quadword)
        code.extend(.rsi, register(0), .byte, signed: false)
      }
      #expect(state[.rcx] == .max)
      #expect(state[.rsi] == 0xff)
    }

    @Test(arguments: EngineUnderTest.available)
    func `an operation on a register is one read and one write`(_ engine: EngineUnderTest) throws {
      let (rig, device) = try rig(engine)
      device.set(5, at: 0)
      let state = try rig.run { code in
        code.move(.rbx, Place.registers)
        code.move(.rcx, 0x100)
        code.compute(.add, register(0), .rcx, .doubleword)
        code.increment(register(0), .doubleword, locked: true)
        code.move(.rsi, 0x77)
        code.exchange(.rsi, register(0), .doubleword)
      }
      #expect(state[.rsi] == 0x106)
      #expect(
        device.seen == [
          .read(0, .doubleword, 5), .write(0, .doubleword, 0x105),
          .read(0, .doubleword, 0x105), .write(0, .doubleword, 0x106),
          .read(0, .doubleword, 0x106), .write(0, .doubleword, 0x77),
        ])
    }

    @Test(arguments: EngineUnderTest.available)
    func `string instructions reach registers element by element`(_ engine: EngineUnderTest) throws
    {
      let (rig, device) = try rig(engine)
      for index in 0..<UInt64(4) { device.set(0x1000 + index, at: index * 4) }
      try rig.run { code in
        code.setDirection(false)
        code.move(.rsi, Place.registers)
        code.move(.rdi, Place.data)
        code.move(.rcx, 4)
        code.repeatMove(.doubleword)
        code.move(.rsi, Place.data)
        code.move(.rdi, Place.registers + 0x100)
        code.move(.rcx, 4)
        code.repeatMove(.doubleword)
      }
      #expect(try rig.read(Place.data) == 0x1001_0000_1000)
      let elements = 0..<UInt64(4)
      let reads = elements.map { Recorder.Seen.read($0 * 4, .doubleword, 0x1000 + $0) }
      let writes = elements.map { Recorder.Seen.write(0x100 + $0 * 4, .doubleword, 0x1000 + $0) }
      #expect(device.seen == reads + writes)
    }

    @Test(arguments: EngineUnderTest.available)
    func `ROM is read and run, and writes to it go nowhere`(_ engine: EngineUnderTest) throws {
      let (rig, _) = try rig(engine)
      var routine = Assembler(at: Place.rom + 0x100)
      routine.move(.rsi, 0x1234)
      routine.ret()
      try rig.memory.install([1, 2, 3, 4, 5, 6, 7, 8], at: GPA(Place.rom))
      try rig.memory.install(routine.bytes, at: GPA(Place.rom + 0x100))
      let state = try rig.run { code in
        code.move(.rbx, Place.rom)
        code.store(0, self.register(0))
        code.store(0, self.register(0x100))
        code.load(.rcx, self.register(0), .quadword)
        code.move(.rdi, Place.rom + 0x100)
        code.call(.rdi)
      }
      #expect(state[.rcx] == 0x0807_0605_0403_0201)
      #expect(state[.rsi] == 0x1234)
      #expect(try rig.read(Place.rom) == 0x0807_0605_0403_0201)
    }
  }
}
