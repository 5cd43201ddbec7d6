import ACPI
package import Board
package import Chipset
package import Execution
package import PCI
package import Streams

/// A PC of the ISA and PCI kind, without a screen. Read it as a parts list; parts power on in this order, and then
/// its devices.
package struct PC: Sendable {
  /// The name of this kind of machine in saved states.
  package static let kind = "pc"

  package let parts: [Part]
  /// What it has because the user asked for it.
  package let devices: PCDevices
  package let powerManagement: ACPIPowerManagement
  package let clock: RTCMC146818
  /// Functions are plugged in here, before the machine starts.
  package let pci: PCIRoot

  /// What stands behind the parts that speak to the outside.
  package struct Backends: Sendable {
    /// By COM port, 1 to 4.
    package var serial: [any ByteStream]
    package var debugConsole: any ByteStream
    /// What the user asked for beside.
    package var devices: [OpenedDevice]
    /// Hears of each device that was unplugged, when it is at rest and may be closed. On any thread.
    package var departed: @Sendable (OpenedDevice) -> Void

    package init(
      serial: [any ByteStream], debugConsole: any ByteStream = NullStream(),
      devices: [OpenedDevice] = [],
      departed: @escaping @Sendable (OpenedDevice) -> Void = { _ in }
    ) {
      self.serial = serial
      self.debugConsole = debugConsole
      self.devices = devices
      self.departed = departed
    }
  }

  /// Wires the parts to each other and to the processors, and maps them.
  ///
  /// - Parameter reportEmptied: hears the name of a device that has left its slot, on any thread.
  /// - Throws: if the debug exit device is to answer where something else does.
  package init(
    on board: Backplane, processors: Int, interrupts: any ProcessorInterrupts,
    control: any MachineControl, backends: Backends, map: PCAddressMap, debugExitPort: UInt16?,
    pci topology: PCITopology = PCITopology(),
    reportEmptied: @escaping @Sendable (String) -> Void = { _ in }
  ) throws {
    let ports = board.ports

    // Interrupt controllers, each before whoever drives it.
    let pic = I8259Pair(output: InterruptLine(to: interrupts, pin: ProcessorPin.lint0))
    ports.map(pic, at: 0x20..<0x22, region: I8259Pair.Block.master.rawValue)
    ports.map(pic, at: 0xa0..<0xa2, region: I8259Pair.Block.slave.rawValue)
    ports.map(pic, at: 0x4d0..<0x4d2, region: I8259Pair.Block.edgeLevel.rawValue)
    let ioAPIC = IOAPIC(id: Self.ioAPICID(processors: processors), target: interrupts)
    board.registers.map(ioAPIC, at: PCAddressMap.ioAPIC)
    interrupts.connect(acknowledger: pic)
    interrupts.connect(endOfInterrupt: ioAPIC)
    // An ISA interrupt reaches both, the timer's on another pin of the I/O APIC.
    let isa = InterruptFanOut([
      (pic, { @Sendable in $0 }), (ioAPIC, { @Sendable in $0 == 0 ? 2 : $0 == 2 ? nil : $0 }),
    ])
    let hpet = HPET(
      irq0: InterruptLine(to: isa, pin: 0), irq8: InterruptLine(to: isa, pin: 8), pins: ioAPIC,
      clock: board.clock, loop: board.loop)
    board.registers.map(hpet, at: PCAddressMap.hpet)

    // Timers; the first two drive their interrupts through the HPET.
    let pit = I8254(
      interrupt: InterruptLine(to: hpet, pin: 0), clock: board.clock, loop: board.loop)
    ports.map(pit, at: 0x40..<0x44, region: I8254.Block.timer.rawValue)
    ports.map(pit, at: 0x61..<0x62, region: I8254.Block.systemControlB.rawValue)
    clock = RTCMC146818(
      interrupt: InterruptLine(to: hpet, pin: 8), clock: board.clock, loop: board.loop)
    ports.map(clock, at: 0x70..<0x74)
    clock.presetMemorySize(
      below4GiB: map.lowMemoryEnd,
      above4GiB: map.highMemory.upperBound - map.highMemory.lowerBound)

    powerManagement = ACPIPowerManagement(
      interrupt: InterruptLine(to: isa, pin: 9), clock: board.clock, loop: board.loop,
      control: control)
    for (block, port) in [
      (ACPIPowerManagement.Block.event, Port.powerManagementEvent),
      (.control, Port.powerManagementControl), (.timer, Port.powerManagementTimer),
      (.generalPurposeEvents, Port.generalPurposeEvents),
    ] {
      ports.map(
        powerManagement, at: UInt64(port)..<UInt64(port) + block.length, region: block.rawValue)
    }

    // Serial ports: two and two share an interrupt.
    let shared = [4: SharedPin(to: isa, pin: 4), 3: SharedPin(to: isa, pin: 3)]
    var serial: [Part] = []
    for (index, description) in PCDescription.SerialPort.customary.enumerated() {
      guard let pin = shared[Int(description.interrupt)] else { continue }
      let port = UART16550(
        interrupt: pin.line(), stream: backends.serial[index], loop: board.loop)
      ports.map(port, at: UInt64(description.port)..<UInt64(description.port) + 8)
      serial.append(Part("com\(index + 1)", port))
    }

    // PCI, with the reset control register beneath its address port; INTx reaches the I/O APIC alone.
    pci = PCIRoot(
      ports: ports, registers: board.registers, messages: interrupts, interrupts: ioAPIC)
    let bridge = ConfigurationSpace.hostBridge()
    pci.bus.plug(bridge, device: 0)
    let resetControl = ResetControl(control: control)
    let host = PCIHost(root: pci, beneath: [0xcf9: resetControl])
    ports.map(host, at: PCIHost.ports, region: PCIHost.Block.ports.rawValue)
    board.registers.map(
      host, at: PCAddressMap.pciConfiguration, region: PCIHost.Block.memory.rawValue)

    // Keyboard and control ports.
    let keyboard = I8042(
      keyboardInterrupt: InterruptLine(to: isa, pin: 1),
      mouseInterrupt: InterruptLine(to: isa, pin: 12), control: control)
    ports.map(keyboard, at: 0x60..<0x61, region: I8042.Block.data.rawValue)
    ports.map(keyboard, at: 0x64..<0x65, region: I8042.Block.command.rawValue)
    let fastA20 = FastA20Port(control: control)
    ports.map(fastA20, at: 0x92..<0x93)
    let post = POSTPort()
    ports.map(post, at: 0x80..<0x81)
    let console = DebugConsole(stream: backends.debugConsole, loop: board.loop)
    ports.map(console, at: 0xe9..<0xea)
    ports.map(console, at: 0x402..<0x403)
    var debugging = [Part("post", post), Part("debug-console", console)]
    if let debugExitPort {
      let exit = DebugExit(control: control)
      guard ports.map(exit, at: UInt64(debugExitPort)..<UInt64(debugExitPort) + 4) else {
        throw ConfigurationError(
          "--debug-exit 0x\(String(debugExitPort, radix: 16))",
          "Another device answers at this port or the three after it: take 0xf4 or 0x501.")
      }
      debugging.append(Part("debug-exit", exit))
    }

    devices = try PCDevices(
      backends.devices, topology, on: board, pci, reportEmptied: reportEmptied)

    parts =
      [
        Part("pic", pic), Part("ioapic", ioAPIC), Part("hpet", hpet), Part("pit", pit),
        Part("rtc", clock), Part("acpi", powerManagement),
      ] + serial + [
        Part("pci", host), Part("pci-host-bridge", bridge), Part("reset-control", resetControl),
        Part("keyboard", keyboard), Part("port92", fastA20),
      ] + debugging + devices.portParts
  }

  /// Gives PCI devices their buses and addresses: after power-on and reset, where no firmware does it.
  package func assignPCIResources(_ map: PCAddressMap) throws(PCIResourceError) {
    let memory =
      UInt64(PCAddressMap.pciMemory.lowerBound)..<UInt64(PCAddressMap.pciMemory.upperBound) + 1
    try PCIResources(
      memory: memory, highMemory: map.pciHighMemory, ports: PCAddressMap.pciPorts
    ).assign(pci)
  }

  /// The I/O APIC's ID follows those of the processors, as MP 1.4 §3.6.6 asks; its register has four bits.
  package static func ioAPICID(processors: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: min(processors, 15))
  }

  /// Ports that the guest learns of by ACPI.
  package enum Port {
    package static let powerManagementEvent: UInt16 = 0x600
    package static let powerManagementControl: UInt16 = 0x604
    package static let powerManagementTimer: UInt16 = 0x608
    package static let generalPurposeEvents: UInt16 = 0x620
  }
}
