import ArchitectureX86
import Board
import Execution
import Inspection
import InterruptControllers
import Kit
import SavedState
import Testing

@Suite struct LocalAPICTests {
  let bench = APICBench()

  // MARK: Priorities: SDM Vol. 3A §11.8

  @Test func `a fixed IPI is requested, taken into service and ended`() {
    bench.sendIPI(from: 0, to: 1, 0x41)
    #expect(bench.attention.processors == [1])
    #expect(bench[1].pending == .interrupt)
    #expect(bench[1].read(Offset.requested + 0x20) == 1 << 1)
    #expect(bench[1].acknowledgeInterrupt() == 0x41)
    #expect(bench[1].read(Offset.inService + 0x20) == 1 << 1)
    #expect(bench[1].read(Offset.processorPriority) == 0x40)
    #expect(bench[1].pending == [])
    bench[1].write(0, Offset.endOfInterrupt)
    #expect(bench[1].read(Offset.inService + 0x20) == 0)
    #expect(bench[1].acknowledgeInterrupt() == nil)
  }

  @Test func `a higher class interrupts a lower one, an equal class waits`() {
    bench.sendIPI(from: 0, to: 1, 0x45)
    #expect(bench[1].acknowledgeInterrupt() == 0x45)
    bench.sendIPI(from: 0, to: 1, 0x4f)
    #expect(bench[1].pending == [])
    bench.sendIPI(from: 0, to: 1, 0x50)
    #expect(bench[1].acknowledgeInterrupt() == 0x50)
    bench[1].write(0, Offset.endOfInterrupt)
    #expect(bench[1].pending == [])
    bench[1].write(0, Offset.endOfInterrupt)
    #expect(bench[1].acknowledgeInterrupt() == 0x4f)
  }

  @Test func `the task priority holds interrupts back until it falls`() {
    bench[1].taskPriority = 5
    #expect(bench[1].read(Offset.taskPriority) == 0x50)
    bench.sendIPI(from: 0, to: 1, 0x55)
    #expect(bench[1].pending == [])
    bench[1].write(0x4f, Offset.taskPriority)
    #expect(bench[1].taskPriority == 4)
    #expect(bench[1].pending == .interrupt)
    #expect(bench.attention.processors == [1])
  }

  @Test func `every vector from 16 on arrives, the highest first`() {
    for vector in 16...255 as ClosedRange<UInt32> { bench.sendIPI(from: 0, to: 1, vector) }
    for vector in (16...255 as ClosedRange<UInt8>).reversed() {
      bench[1].write(0, Offset.endOfInterrupt)
      #expect(bench[1].acknowledgeInterrupt() == vector)
    }
  }

  // MARK: Errors: §11.5.3

  @Test func `an illegal vector is not sent, and raises the error interrupt once`() {
    bench[0].write(0x33, Offset.error)
    bench.sendIPI(from: 0, to: 1, 0x0f)
    bench.sendIPI(from: 0, to: 1, 0x0f)
    #expect(bench[1].pending == [])
    #expect(bench[0].acknowledgeInterrupt() == 0x33)
    #expect(bench[0].read(Offset.errorStatus) == 0)
    bench[0].write(0, Offset.errorStatus)
    #expect(bench[0].read(Offset.errorStatus) == 1 << 5)
    bench[0].write(0, Offset.errorStatus)
    #expect(bench[0].read(Offset.errorStatus) == 0)
  }

  @Test func `a message with an illegal vector is the receiver's error`() {
    bench.apics.signal(MSI(address: 0xfee0_1000, data: 0x05), from: 0)
    bench[1].write(0, Offset.errorStatus)
    #expect(bench[1].read(Offset.errorStatus) == 1 << 6)
  }

  @Test func `a register that is not there is an error`() {
    _ = bench[0].read(0x40)
    bench[0].write(0, Offset.errorStatus)
    #expect(bench[0].read(Offset.errorStatus) == 1 << 7)
    bench[0].write(1, 0x3f0)
    bench[0].write(0, Offset.errorStatus)
    #expect(bench[0].read(Offset.errorStatus) == 1 << 7)
  }

  // MARK: Local vectors: §11.5.1

  @Test func `disabling the APIC by software masks its local vectors and refuses fixed interrupts`()
  {
    bench[1].write(0x31, Offset.timer)
    bench[1].write(0xff, Offset.spurious)
    #expect(bench[1].read(Offset.timer) == 0x1_0031)
    bench[1].write(0x31, Offset.timer)
    #expect(bench[1].read(Offset.timer) == 0x1_0031)
    bench.sendIPI(from: 0, to: 1, 0x41)
    #expect(bench[1].pending == [])
    bench.sendIPI(from: 0, to: 1, 0x400)
    #expect(bench[1].takeNMI())
  }

  @Test func `LINT0 in ExtINT mode asks the 8259 pair for the vector`() {
    let acknowledger = FixedAcknowledger(vector: 0x20)
    defer { withExtendedLifetime(acknowledger) {} }
    bench.apics.connect(acknowledger: acknowledger)
    bench.apics.set(ProcessorPin.lint0, asserted: true)
    #expect(bench[0].pending == [])
    bench[0].write(0x700, Offset.lint0)
    #expect(bench[0].pending == .interrupt)
    #expect(bench[1].pending == [])
    bench[0].taskPriority = 15
    #expect(bench[0].acknowledgeInterrupt() == 0x20)
    bench.apics.set(ProcessorPin.lint0, asserted: false)
    #expect(bench[0].pending == [])
    #expect(bench[0].acknowledgeInterrupt() == nil)
  }

  @Test func `LINT1 in NMI mode raises an NMI at each rising edge`() {
    bench[0].write(0x400, Offset.lint1)
    bench.apics.set(ProcessorPin.lint1, asserted: true)
    #expect(bench[0].pending == .nmi)
    #expect(bench[0].takeNMI())
    #expect(!bench[0].takeNMI())
    bench.apics.set(ProcessorPin.lint1, asserted: false)
    bench.apics.set(ProcessorPin.lint1, asserted: true)
    #expect(bench[0].takeNMI())
  }

  @Test func `virtual wire mode is what firmware leaves`() {
    let fresh = APICBench(processors: 1)
    fresh[0].initialise(asBootstrap: true)
    fresh[0].setVirtualWire()
    let acknowledger = FixedAcknowledger(vector: 8)
    defer { withExtendedLifetime(acknowledger) {} }
    fresh.apics.connect(acknowledger: acknowledger)
    fresh.apics.set(ProcessorPin.lint0, asserted: true)
    #expect(fresh[0].acknowledgeInterrupt() == 8)
    #expect(fresh[0].read(Offset.lint1) == 0x400)
  }

  @Test func `a level-triggered pin asks again after its interrupt ended`() {
    bench[0].write(0x8042, Offset.lint0)
    bench.apics.set(ProcessorPin.lint0, asserted: true)
    #expect(bench[0].read(Offset.lint0) == 0xc042)
    #expect(bench[0].acknowledgeInterrupt() == 0x42)
    #expect(bench[0].pending == [])
    bench[0].write(0, Offset.endOfInterrupt)
    #expect(bench[0].acknowledgeInterrupt() == 0x42)
    bench.apics.set(ProcessorPin.lint0, asserted: false)
    bench[0].write(0, Offset.endOfInterrupt)
    #expect(bench[0].pending == [])
    #expect(bench[0].read(Offset.lint0) == 0x8042)
  }

  // MARK: Ends of level-triggered interrupts: §11.8.5

  @Test func `the end of a level-triggered interrupt is broadcast, that of an edge is not`() {
    let listener = RecordingListener()
    bench.apics.connect(endOfInterrupt: listener)
    bench.apics.signal(MSI(address: 0xfee0_0000, data: 0xc051), from: 0)
    #expect(bench[0].read(0x180 + 0x20) == 1 << 17)
    #expect(bench[0].acknowledgeInterrupt() == 0x51)
    bench[0].write(0, Offset.endOfInterrupt)
    #expect(listener.vectors == [0x51])
    bench.apics.signal(MSI(address: 0xfee0_0000, data: 0x51), from: 0)
    #expect(bench[0].acknowledgeInterrupt() == 0x51)
    bench[0].write(0, Offset.endOfInterrupt)
    #expect(listener.vectors == [0x51])
  }

  @Test func `directed EOI keeps the broadcast back`() {
    let listener = RecordingListener()
    bench.apics.connect(endOfInterrupt: listener)
    #expect(bench[0].read(Offset.version) & 1 << 24 != 0)
    bench[0].write(0x11ff, Offset.spurious)
    bench.apics.signal(MSI(address: 0xfee0_0000, data: 0xc051), from: 0)
    #expect(bench[0].acknowledgeInterrupt() == 0x51)
    bench[0].write(0, Offset.endOfInterrupt)
    #expect(listener.vectors == [])
  }

  // MARK: Modes: §11.4.3, §11.12.5

  @Test func `only legal changes of mode are accepted`() {
    let apic = bench[0]
    #expect(apic.pageAddress == 0xfee0_0000 && apic.isEnabledGlobally && !apic.isX2APIC)
    #expect(!apic.writeMSR(0xfee0_0400, X86.MSR.apicBase))
    #expect(!apic.writeMSR(0xfee0_0801, X86.MSR.apicBase))
    #expect(!apic.writeMSR(1 << 52 | 0xfee0_0800, X86.MSR.apicBase))
    #expect(apic.writeMSR(0xfee0_0c00, X86.MSR.apicBase))
    #expect(apic.isX2APIC)
    #expect(apic.readMSR(X86.MSR.apicBase) == 0xfee0_0d00)
    #expect(!apic.writeMSR(0xfee0_0800, X86.MSR.apicBase))
    #expect(apic.writeMSR(0xfee0_0000, X86.MSR.apicBase))
    #expect(!apic.isEnabledGlobally)
    #expect(!apic.writeMSR(0xfee0_0c00, X86.MSR.apicBase))
    #expect(apic.writeMSR(0xfed0_0800, X86.MSR.apicBase))
    #expect(apic.pageAddress == 0xfed0_0000)
    #expect(apic.read(Offset.spurious) == 0xff)
  }

  @Test func `without an APIC the pins are INTR and NMI`() {
    let acknowledger = FixedAcknowledger(vector: 0x30)
    defer { withExtendedLifetime(acknowledger) {} }
    bench.apics.connect(acknowledger: acknowledger)
    #expect(bench[0].writeMSR(0xfee0_0000, X86.MSR.apicBase))
    bench.apics.set(ProcessorPin.lint0, asserted: true)
    #expect(bench[0].acknowledgeInterrupt() == 0x30)
    bench.apics.set(ProcessorPin.lint1, asserted: true)
    #expect(bench[0].takeNMI())
    bench.sendIPI(from: 1, to: 0, 0x400)
    #expect(!bench[0].takeNMI())
  }

  // MARK: INIT and start-up

  @Test func `INIT and SIPI wait until the processor takes them`() {
    bench.sendIPI(from: 0, to: 1, 0xc500)
    #expect(bench[1].pending == .initialise)
    bench.sendIPI(from: 0, to: 1, 0x8500)
    #expect(bench[1].takeINIT())
    #expect(!bench[1].takeINIT())
    bench[1].softReset()
    bench.sendIPI(from: 0, to: 1, 0x69a)
    #expect(bench[1].pending == .startUp)
    #expect(bench[1].takeStartUp() == 0x9a)
    #expect(bench[1].pending == [])
  }

  @Test func `INIT resets the registers but neither the ID nor the base`() {
    #expect(bench.enterX2APIC(1))
    bench[1].softReset()
    #expect(bench[1].isX2APIC)
    #expect(bench[1].readMSR(0x802) == 1)
    #expect(bench[1].readMSR(0x80f) == 0xff)
  }

  // MARK: Saved state

  @Test func `saved and restored, an APIC is the same`() throws {
    bench[1].write(0x2_0035, Offset.timer)
    bench[1].write(0b1011, Offset.divide)
    bench[1].write(5000, Offset.initialCount)
    bench[1].write(0x700, Offset.lint0)
    bench.sendIPI(from: 0, to: 1, 0x71)
    bench.sendIPI(from: 0, to: 1, 0x81)
    #expect(bench[1].acknowledgeInterrupt() == 0x81)
    _ = bench[1].read(0x40)
    bench.sendIPI(from: 0, to: 1, 0x611)
    bench.clock.advance(by: 1234)
    let saved = bench[1].save()

    let twin = APICBench()
    twin.clock.advance(by: 1234)
    try twin[1].restore(saved, nmiPending: true)
    #expect(twin[1].save() == saved)
    #expect(twin[1].takeNMI())
    #expect(twin[1].takeStartUp() == 0x11)
    #expect(twin[1].read(Offset.currentCount) == 5000 - 1234)
    #expect(twin[1].pending == [])
    twin[1].write(0, Offset.endOfInterrupt)
    #expect(twin[1].acknowledgeInterrupt() == 0x71)
    twin[1].write(0, Offset.endOfInterrupt)
    twin.clock.advance(by: 20_000)
    #expect(twin[1].acknowledgeInterrupt() == 0x35)
  }

  @Test func `a state that no APIC can be in is refused, and changes nothing`() {
    bench[1].write(0x35, Offset.timer)
    let good = bench[1].save()
    let damages: [(inout X86.APIC) -> Void] = [
      { $0.base = 0xfee0_0400 },
      { $0.base |= 1 << 60 },
      { $0.registers.removeLast() },
      { $0.registers = [] },
      { $0.registers[0x02] = 0 },
      { $0.registers[0x08] = 0x100 },
      { $0.registers[0x0f] = .max },
      { $0.registers[0x10] = 1 },
      { $0.registers[0x20] = 0x8000 },
      { $0.registers[0x28] = 1 },
      { $0.newErrors = 1 << 31 },
      { $0.registers[0x32] |= 1 << 31 },
    ]
    for damage in damages {
      var bad = good
      damage(&bad)
      #expect(throws: RestoreError.self) { try bench[1].restore(bad) }
      #expect(bench[1].save() == good)
    }
  }

  @Test func `every access to the page and to the MSRs is answered, whatever the state`() {
    for value: UInt32 in [0, .max, 0x5555_5555, 0x0001_8741] {
      for offset in 0..<UInt32(0x1010) {
        bench[0].write(value, offset)
        _ = bench[0].read(offset)
        _ = bench[0].pending
      }
      bench.clock.advance(by: 1_000_000)
    }
    #expect(bench.enterX2APIC(0))
    for value: UInt64 in [0, .max, 0xffff_ffff, 0x41, 0x000c_4041] {
      for index in UInt32(0x7f0)...0x910 {
        _ = bench[0].writeMSR(value, index)
        _ = bench[0].readMSR(index)
      }
      bench.clock.advance(by: 1_000_000)
    }
  }

  @Test func `inspection shows mode and priorities`() {
    var node = Node()
    bench[0].inspect(&node)
    #expect(node.text().contains("xAPIC"))
  }
}
