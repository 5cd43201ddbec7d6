/// A PC, as its firmware tells the guest about it: what there is, and at which addresses and
/// interrupts.
///
/// A machine fills this in from its own address map; the ACPI tables and the MultiProcessor table
/// are two renderings of it.
package struct PCDescription: Sendable, Equatable {
  /// The processors' local APIC IDs, the boot processor's first. An ID is also the processor's
  /// ACPI UID.
  package var processors: [UInt32]
  /// Where every processor sees its local APIC.
  package var localAPICAddress: UInt32
  package var ioAPICs: [IOAPIC]
  /// The ISA interrupts that are not wired to the I/O APIC input of the same number.
  package var interruptOverrides: [InterruptOverride]
  package var pci: PCIHost
  package var powerManagement: PowerManagement
  package var hpet: HPET?
  package var serialPorts: [SerialPort]
  package var realTimeClock: RealTimeClock?
  /// An 8042 with a keyboard and a mouse, on ports 60h and 64h, interrupts 1 and 12.
  package var hasKeyboardController: Bool
  /// A VGA, whose memory lies at A0000h.
  package var hasVGA: Bool
  /// Virtio devices that are not on PCI.
  package var virtioDevices: [VirtioMMIO]

  package init(
    processors: [UInt32], localAPICAddress: UInt32 = 0xFEE0_0000, ioAPICs: [IOAPIC],
    interruptOverrides: [InterruptOverride] = [.timer, .systemControl], pci: PCIHost,
    powerManagement: PowerManagement, hpet: HPET? = nil, serialPorts: [SerialPort] = [],
    realTimeClock: RealTimeClock? = RealTimeClock(), hasKeyboardController: Bool = true,
    hasVGA: Bool = false, virtioDevices: [VirtioMMIO] = []
  ) {
    self.processors = processors
    self.localAPICAddress = localAPICAddress
    self.ioAPICs = ioAPICs
    self.interruptOverrides = interruptOverrides
    self.pci = pci
    self.powerManagement = powerManagement
    self.hpet = hpet
    self.serialPorts = serialPorts
    self.realTimeClock = realTimeClock
    self.hasKeyboardController = hasKeyboardController
    self.hasVGA = hasVGA
    self.virtioDevices = virtioDevices
  }
}

// MARK: - Virtio
extension PCDescription {
  /// A virtio device behind memory-mapped registers.
  package struct VirtioMMIO: Sendable, Equatable {
    package var address: UInt32
    package var length: UInt32
    /// The global interrupt, which is level-triggered and may be shared.
    package var interrupt: UInt32

    package init(address: UInt32, length: UInt32, interrupt: UInt32) {
      self.address = address
      self.length = length
      self.interrupt = interrupt
    }
  }
}

// MARK: - Interrupts
extension PCDescription {
  /// An I/O APIC: its inputs are the global system interrupts from `interruptBase` on.
  package struct IOAPIC: Sendable, Equatable {
    package var id: UInt8
    package var address: UInt32
    package var interruptBase: UInt32

    package init(id: UInt8, address: UInt32 = 0xFEC0_0000, interruptBase: UInt32 = 0) {
      self.id = id
      self.address = address
      self.interruptBase = interruptBase
    }
  }

  /// How an interrupt line signals, where it departs from its bus's custom.
  package enum Signal: Sendable, Equatable {
    case asTheBusDoes, edgeActiveHigh, levelActiveHigh, levelActiveLow

    /// The MPS INTI flags, which ACPI and the MultiProcessor Specification share.
    ///
    /// - SeeAlso: ACPI 6.4 §5.2.12.5, table "MPS INTI Flags"; MP 1.4 §4.3.4.
    var flags: UInt16 {
      switch self {
      case .asTheBusDoes: 0b0000
      case .edgeActiveHigh: 0b0101
      case .levelActiveHigh: 0b1101
      case .levelActiveLow: 0b1111
      }
    }
  }

  /// An ISA interrupt wired to another input than its own, or signalling unlike ISA.
  package struct InterruptOverride: Sendable, Equatable {
    package var isaInterrupt: UInt8
    package var globalInterrupt: UInt32
    package var signal: Signal

    package init(isaInterrupt: UInt8, globalInterrupt: UInt32, signal: Signal) {
      self.isaInterrupt = isaInterrupt
      self.globalInterrupt = globalInterrupt
      self.signal = signal
    }

    /// The 8254's interrupt, on input 2 as on every PC with an I/O APIC.
    package static let timer = InterruptOverride(
      isaInterrupt: 0, globalInterrupt: 2, signal: .asTheBusDoes)
    /// The system control interrupt, which devices share and therefore hold.
    package static let systemControl = InterruptOverride(
      isaInterrupt: 9, globalInterrupt: 9, signal: .levelActiveHigh)
  }
}

// MARK: - PCI
extension PCDescription {
  /// The PCI host bridge: its buses, and the windows of address space it passes on to them.
  package struct PCIHost: Sendable, Equatable {
    /// Where configuration space is mapped: bus `buses.lowerBound` begins at
    /// `configurationBase + (buses.lowerBound << 20)`.
    package var configurationBase: UInt32
    package var buses: ClosedRange<UInt8>
    /// Memory below 4 GiB.
    package var memoryWindow: ClosedRange<UInt32>
    /// Memory above 4 GiB.
    package var highMemoryWindow: ClosedRange<UInt64>?
    package var routing: PCIRouting

    package init(
      configurationBase: UInt32, buses: ClosedRange<UInt8> = 0...255,
      memoryWindow: ClosedRange<UInt32>, highMemoryWindow: ClosedRange<UInt64>?,
      routing: PCIRouting = PCIRouting()
    ) {
      self.configurationBase = configurationBase
      self.buses = buses
      self.memoryWindow = memoryWindow
      self.highMemoryWindow = highMemoryWindow
      self.routing = routing
    }

    /// The memory that configuration space takes: one mebibyte a bus.
    package var configurationSpace: ClosedRange<UInt32> {
      let first = configurationBase + UInt32(buses.lowerBound) << 20
      let last = configurationBase + (UInt32(buses.upperBound) << 20 | 0xF_FFFF)
      return first...last
    }
  }

  /// Which global interrupt each slot's INTA# to INTD# is wired to: neighbouring slots start at
  /// neighbouring inputs, so that single-function devices share as little as they can.
  package struct PCIRouting: Sendable, Equatable {
    package var firstInterrupt: UInt32
    package var count: UInt32

    package init(firstInterrupt: UInt32 = 16, count: UInt32 = 8) {
      precondition(count > 0, "PCI needs at least one interrupt")
      self.firstInterrupt = firstInterrupt
      self.count = count
    }

    /// The slots of a bus, and the pins of a slot (0 is INTA#).
    package static let slots: Range<UInt32> = 0..<32
    package static let pins: Range<UInt32> = 0..<4

    /// The global interrupt of one pin of one slot on the root bus.
    package func globalInterrupt(slot: UInt32, pin: UInt32) -> UInt32 {
      firstInterrupt + (slot % count + pin % count) % count
    }
  }
}

// MARK: - Power management
extension PCDescription {
  /// The ports of the ACPI fixed hardware, which is in ACPI mode from reset on (there is no SMI
  /// command port).
  ///
  /// - SeeAlso: ACPI 6.4 §4.8 "ACPI Register Model".
  package struct PowerManagement: Sendable, Equatable {
    /// PM1a event block: status and enable, two bytes each.
    package var event: UInt16
    /// PM1a control block: two bytes.
    package var control: UInt16
    /// PM timer: four bytes.
    package var timer: UInt16
    package var timerHas32Bits: Bool
    package var generalPurposeEvents: PortBlock?
    /// The ISA interrupt that the fixed hardware raises.
    package var interrupt: UInt8
    package var reset: ResetRegister
    /// What to write to SLP_TYP to switch the machine off.
    package var softOff: UInt8

    package init(
      event: UInt16, control: UInt16, timer: UInt16, timerHas32Bits: Bool = true,
      generalPurposeEvents: PortBlock? = nil, interrupt: UInt8 = 9,
      reset: ResetRegister = ResetRegister(), softOff: UInt8 = 0
    ) {
      self.event = event
      self.control = control
      self.timer = timer
      self.timerHas32Bits = timerHas32Bits
      self.generalPurposeEvents = generalPurposeEvents
      self.interrupt = interrupt
      self.reset = reset
      self.softOff = softOff
    }
  }

  /// A block of up to 31 I/O ports.
  package struct PortBlock: Sendable, Equatable {
    package var port: UInt16
    package var length: UInt8

    package init(port: UInt16, length: UInt8) {
      self.port = port
      self.length = length
    }
  }

  /// The port and the value that reset the machine; by default the reset control register of
  /// Intel chipsets.
  package struct ResetRegister: Sendable, Equatable {
    package var port: UInt16
    package var value: UInt8

    package init(port: UInt16 = 0xCF9, value: UInt8 = 0x06) {
      self.port = port
      self.value = value
    }
  }
}

// MARK: - Legacy devices
extension PCDescription {
  /// The high precision event timer: `blockID` is the low half of its capabilities register.
  package struct HPET: Sendable, Equatable {
    package var address: UInt32
    package var blockID: UInt32
    /// The shortest period that loses no interrupt, in ticks.
    package var minimumTick: UInt16

    package init(address: UInt32 = 0xFED0_0000, blockID: UInt32, minimumTick: UInt16 = 0x80) {
      self.address = address
      self.blockID = blockID
      self.minimumTick = minimumTick
    }
  }

  /// A 16550 on eight ports and one ISA interrupt.
  package struct SerialPort: Sendable, Equatable {
    package var port: UInt16
    package var interrupt: UInt8

    package init(port: UInt16, interrupt: UInt8) {
      self.port = port
      self.interrupt = interrupt
    }

    /// COM1 to COM4 of a PC.
    package static let customary = [
      SerialPort(port: 0x3F8, interrupt: 4), SerialPort(port: 0x2F8, interrupt: 3),
      SerialPort(port: 0x3E8, interrupt: 4), SerialPort(port: 0x2E8, interrupt: 3),
    ]
  }

  /// The MC146818 on ports 70h and 71h, interrupt 8.
  package struct RealTimeClock: Sendable, Equatable {
    /// Where in CMOS the century is kept.
    package var centuryRegister: UInt8

    package init(centuryRegister: UInt8 = 0x32) { self.centuryRegister = centuryRegister }
  }
}
