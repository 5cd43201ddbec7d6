import ArchitectureX86
import Board
import Execution
import Glibc
import HostOS
import Synchronization
import Testing
import Work

/// Powers that an engine may have, and a machine does without: what they shorten ends the same without them.
extension EngineContract {
  @Suite struct PowerTests {
    private typealias Place = Rig.Place

    // MARK: - Doorbells

    /// A device with one doorbell, as a device has it: it rings it itself for whatever write still reaches it.
    private final class Rung: IODevice {
      let trigger: DoorbellTrigger
      let bell: any Doorbell
      let others = Recorder()
      private let answers: Answers

      private final class Answers: Sendable { let count = Atomic<Int>(0) }

      init(_ trigger: DoorbellTrigger, _ rig: Rig) {
        self.trigger = trigger
        let answers = Answers()
        self.answers = answers
        bell = rig.loop.makeDoorbell { answers.count.add(1, ordering: .relaxed) }
        let range = trigger.address..<trigger.address + 16
        if trigger.space == .ports {
          rig.ports.map(self, at: range)
        } else {
          rig.registers.map(self, at: range)
        }
      }

      /// How often the bell was answered.
      var count: Int { answers.count.load(ordering: .relaxed) }

      func read(_ access: Access) -> UInt64 { others.read(access) }

      func write(_ value: UInt64, _ access: Access) {
        if access.offset == 0, trigger.width.map({ $0 == access.width }) ?? true,
          trigger.value.map({ $0 == value }) ?? true
        {
          bell.ring()
        } else {
          others.write(value, access)
        }
      }
    }

    private static let triggers = [
      DoorbellTrigger(.ports, 0x700, .word), DoorbellTrigger(.ports, 0x700, .doubleword, value: 7),
      DoorbellTrigger(.registers, Place.registers, .doubleword),
      DoorbellTrigger(.registers, Place.registers, .word, value: 7),
      DoorbellTrigger(.registers, Place.registers, .quadword),
      DoorbellTrigger(.registers, Place.registers, nil), DoorbellTrigger(.ports, 0x700, nil),
    ]

    private func write(
      _ value: UInt64, _ width: AccessWidth, to trigger: DoorbellTrigger, offset: Int32 = 0,
      _ code: inout Assembler
    ) {
      let size = Assembler.Size(rawValue: Int(width.rawValue)) ?? .byte
      code.move(.rax, value)
      if trigger.space == .ports {
        code.move(.rdx, trigger.address + UInt64(offset))
        code.output(size)
      } else {
        code.move(.rbx, trigger.address)
        code.store(.rax, .init(base: .rbx, displacement: offset), size)
      }
    }

    @Test(arguments: EngineUnderTest.available, triggers)
    func `a doorbell rings for its writes and no others`(
      _ engine: EngineUnderTest, _ trigger: DoorbellTrigger
    ) throws {
      let rig = try Rig(engine)
      let device = Rung(trigger, rig)
      try rig.partition.doorbells?.add(device.bell, for: trigger)
      // Other widths, values and places are the device's.
      let width = trigger.width ?? .word
      let other: AccessWidth = width == .word ? .doubleword : .word
      try rig.run { code in
        if trigger.width != nil { self.write(7, other, to: trigger, &code) }
        self.write(7, width, to: trigger, offset: 8, &code)
        if trigger.value != nil { self.write(8, width, to: trigger, &code) }
      }
      var expected: [Recorder.Seen] = [.write(8, width, 7)]
      if trigger.width != nil { expected.insert(.write(0, other, 7), at: 0) }
      if trigger.value != nil { expected.append(.write(0, width, 8)) }
      #expect(device.others.seen == expected)
      for round in 1...5 {
        let rung = trigger.width == nil && round % 2 == 0 ? other : width
        try rig.run { code in self.write(7, rung, to: trigger, &code) }
        #expect(rig.waitUntil { device.count == round }, "it rang \(device.count) times")
      }
      #expect(device.others.seen == expected)
      // Reads are never its own.
      if trigger.space == .registers {
        try rig.run { code in
          code.move(.rbx, trigger.address)
          code.load(.rcx, .init(base: .rbx), .doubleword)
        }
        #expect(device.others.seen.last?.isWrite == false)
      }
      // Taken away, the device rings it itself.
      try rig.partition.doorbells?.remove(device.bell, for: trigger)
      try rig.run { code in self.write(7, width, to: trigger, &code) }
      #expect(rig.waitUntil { device.count == 6 })
    }

    @Test(arguments: EngineUnderTest.available)
    func `doorbells come and go while the guest rings them`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      let trigger = DoorbellTrigger(.registers, Place.registers, .doubleword)
      let device = Rung(trigger, rig)
      let count: UInt64 = engine == .software ? 100_000 : 2000
      try rig.load { code in
        code.move(.rbx, Place.registers)
        code.move(.rcx, count)
        let again = code.placed()
        code.store(.rcx, .init(base: .rbx), .doubleword)
        code.compute(.subtract, .rcx, 1)
        code.jump(if: .notZero, to: again)
        code.end()
      }
      let run = rig.begin(from: Place.code)
      while try run.poll(for: 200_000) == nil {
        try rig.partition.doorbells?.add(device.bell, for: trigger)
        _ = try run.poll(for: 200_000)
        try rig.partition.doorbells?.remove(device.bell, for: trigger)
      }
      #expect(rig.waitUntil { device.count > 0 })
      #expect(device.others.seen.isEmpty)
    }

    // MARK: - Messages by handle

    @Test(arguments: EngineUnderTest.available)
    func `a trigger's handle sends its message`(_ engine: EngineUnderTest) throws {
      let rig = try Rig(engine)
      guard let triggers = rig.partition.messageTriggers else { return }
      let run = try rig.beginWaiting(.halted)
      let first = try triggers.make()
      let second = try triggers.make()
      func signal(_ trigger: any MessageTrigger) {
        var one: UInt64 = 1
        #expect(Glibc.write(trigger.hostHandle, &one, 8) == 8)
      }
      try first.set(MSI(address: 0xfee0_0000, data: 0x41))
      try second.set(MSI(address: 0xfee0_0000, data: 0x62))
      var expected: [UInt8] = []
      func expect(_ vector: UInt8, by trigger: any MessageTrigger) {
        signal(trigger)
        expected.append(vector)
        #expect(rig.waitUntil { rig.vectors.count >= expected.count })
      }
      expect(0x41, by: first)
      expect(0x62, by: second)
      expect(0x41, by: first)
      try first.set(nil)
      signal(first)
      expect(0x62, by: second)
      #expect(rig.vectors == expected)
      // Whether a signal that came meanwhile counts is the engine's to say; the next one does.
      try first.set(MSI(address: 0xfee0_0000, data: 0x93))
      expect(0x93, by: first)
      rig.end()
      _ = try run.get()
      #expect(rig.vectors.dropFirst(expected.count - 1).allSatisfy { $0 == 0x93 })
    }

    @Test(arguments: EngineUnderTest.available)
    func `a message that is refused does not stay in the way of others`(
      _ engine: EngineUnderTest
    ) throws {
      let rig = try Rig(engine)
      guard let triggers = rig.partition.messageTriggers else { return }
      let (first, second) = try (triggers.make(), triggers.make())
      // No APIC ID is that wide.
      try? first.set(MSI(address: 0xff_fee0_0000, data: 0x41))
      try second.set(MSI(address: 0xfee0_0000, data: 0x62))
      let run = try rig.beginWaiting(.halted)
      rig.signal(0x51, isLevel: true)
      #expect(rig.waitUntil { rig.vectors == [0x51] })
      var one: UInt64 = 1
      #expect(Glibc.write(second.hostHandle, &one, 8) == 8)
      #expect(rig.waitUntil { rig.vectors == [0x51, 0x62] })
      rig.end()
      _ = try run.get()
    }

    // MARK: - Gathered writes

    @Test(arguments: EngineUnderTest.available, [AddressSpace.ports, .registers])
    func `gathered writes keep their order, and come before what follows`(
      _ engine: EngineUnderTest, _ space: AddressSpace
    ) throws {
      let rig = try Rig(engine)
      let device = Recorder()
      let address: UInt64 = space == .ports ? 0x700 : Place.registers
      rig.ports.map(device, at: 0x700..<0x710)
      rig.registers.map(device, at: Place.registers..<Place.registers + 0x1000)
      // A device beside it, whose accesses are not gathered.
      let heard = Mutex<[Int]>([])
      let witness = Recorder { _ in heard.withLock { $0.append(device.seen.count) } }
      rig.ports.map(witness, at: 0x600..<0x604)
      if let coalescer = rig.partition.writeCoalescer {
        try coalescer.add(address..<address + 0x10, in: space)
      }
      func program(_ code: inout Assembler, _ first: UInt64) {
        for index in first..<first + 50 {
          code.move(.rax, index)
          if space == .ports {
            code.move(.rdx, address)
            code.output(.word)
          } else {
            code.move(.rbx, address)
            code.store(.rax, .init(base: .rbx), .word)
          }
        }
        code.output(0, port: 0x600)
      }
      try rig.run { code in
        program(&code, 0)
        program(&code, 50)
      }
      #expect(device.seen == (0..<UInt64(100)).map { .write(0, .word, $0) })
      #expect(heard.withLock { $0 } == [50, 100])
      if let coalescer = rig.partition.writeCoalescer {
        try coalescer.remove(address..<address + 0x10, in: space)
      }
      try rig.run { code in program(&code, 100) }
      #expect(device.seen == (0..<UInt64(150)).map { .write(0, .word, $0) })
    }
  }
}
