import Board
import Kit
import Memory
import Synchronization
import Testing

@testable import PCI

/// A root, the spaces around it, and configuration accesses by bus, device, function and register.
struct Hierarchy {
  let pins = RecordingController()
  let messages = RequesterLog()
  let ports = IOBus(wideAccess: .split)
  let registers = IOBus(wideAccess: .refuse)
  let root: PCIRoot
  let host: PCIHost

  static let ecam: UInt64 = 0xb000_0000

  init() {
    root = PCIRoot(ports: ports, registers: registers, messages: messages, interrupts: pins)
    host = PCIHost(root: root)
    registers.map(host, at: Self.ecam..<Self.ecam + PCIHost.memorySize, region: 1)
    root.bus.plug(ConfigurationSpace.hostBridge(), device: 0)
  }

  private func offset(_ bus: UInt8, _ device: UInt8, _ function: UInt8, _ register: UInt16)
    -> UInt64
  {
    let requester = PCIAddress(bus: bus, device: device, function: function).requesterID
    return Self.ecam + UInt64(requester) << 12 + UInt64(register)
  }

  func read(
    _ bus: UInt8, _ device: UInt8, _ function: UInt8, _ register: UInt16,
    _ width: AccessWidth = .doubleword
  ) -> UInt32 {
    var view = BusView(registers)
    return UInt32(truncatingIfNeeded: view.read(offset(bus, device, function, register), width))
  }

  func write(
    _ value: UInt32, _ bus: UInt8, _ device: UInt8, _ function: UInt8, _ register: UInt16,
    _ width: AccessWidth = .doubleword
  ) {
    var view = BusView(registers)
    view.write(UInt64(value), offset(bus, device, function, register), width)
  }

  func read(_ bus: UInt8, _ device: UInt8, _ register: UInt16) -> UInt32 {
    read(bus, device, 0, register)
  }

  func write(_ value: UInt32, _ bus: UInt8, _ device: UInt8, _ register: UInt16) {
    write(value, bus, device, 0, register)
  }

  func memory(_ address: UInt64) -> UInt64 {
    var view = BusView(registers)
    return view.read(address, .doubleword)
  }

  /// Where a capability is, found as a guest does; `nil`: nowhere.
  func capability(_ id: UInt8, _ bus: UInt8, _ device: UInt8) -> UInt16? {
    var pointer = UInt16(read(bus, device, 0x34) & 0xff)
    for _ in 0..<48 where pointer != 0 {
      let header = read(bus, device, 0, pointer)
      if header & 0xff == UInt32(id) { return pointer }
      pointer = UInt16(header >> 8 & 0xff)
    }
    return nil
  }

  /// The functions found on a bus and behind its bridges, as `lspci -t` would list them.
  func tree(_ bus: UInt8 = 0) -> [String] {
    (0..<32 as Range<UInt8>).flatMap { device -> [String] in
      (0..<8 as Range<UInt8>).flatMap { function -> [String] in
        let identity = read(bus, device, function, 0)
        guard identity != .max else { return [] }
        let name = PCIAddress(bus: bus, device: device, function: function).description
        let found = ["\(name) \(String(identity, radix: 16))"]
        guard read(bus, device, function, 0x0e, .byte) & 0x7f == 1 else { return found }
        let secondary = UInt8(read(bus, device, function, 0x19, .byte))
        return secondary > bus ? found + tree(secondary) : found
      }
    }
  }

  /// Gives a bridge its buses, memory window and enables.
  func open(
    _ bus: UInt8, _ device: UInt8, secondary: UInt8, to last: UInt8,
    memory: ClosedRange<UInt32>? = nil, command: UInt32 = 7
  ) {
    write(UInt32(last) << 16 | UInt32(secondary) << 8 | UInt32(bus), bus, device, 0x18)
    let window = memory.map { $0.upperBound & 0xfff0_0000 | $0.lowerBound >> 16 } ?? 0x0000_fff0
    write(window, bus, device, 0x20)
    write(command, bus, device, 0x04)
  }
}

/// A target that notes who sent each message.
final class RequesterLog: MSITarget {
  private let log = Mutex<[(MSI, UInt16)]>([])
  func signal(_ message: MSI, from requester: UInt16) {
    log.withLock { $0.append((message, requester)) }
  }
  var requesters: [UInt16] { log.withLock { $0.map(\.1) } }
  var count: Int { log.withLock { $0.count } }
}

/// A network card, as far as PCI goes: one BAR of a page, MSI-X in another, a reset that it hears of.
final class SampleDevice: FunctionReset {
  let function: ConfigurationSpace
  let gate = Gate()
  private let heard = Atomic<Int>(0)
  var resets: Int { heard.load(ordering: .relaxed) }

  init(_ device: UInt16 = 0x1041) {
    let msix = MSIX(vectors: 2)
    function = ConfigurationSpace(
      PCIIdentity(vendor: 0x1af4, device: device, classCode: .ethernet),
      bars: [
        BAR(.memory(prefetchable: false), size: 0x1000, device: RegionDevice(), region: 7),
        msix.bar,
      ],
      capabilities: [.serialNumber(0x0011_2233_4455_6677)], msix: msix, express: .endpoint,
      interruptPin: .a, busMaster: gate)
    function.attach(self)
  }

  func functionReset() { heard.add(1, ordering: .relaxed) }
}

extension Hierarchy {
  /// Programs vector 0 of a sample device that is there, and turns MSI-X on.
  func enableMessages(_ bus: UInt8, _ device: UInt8, table: UInt32) {
    write(table, bus, device, 0x14)
    write(6, bus, device, 0x04)
    var view = BusView(registers)
    view.write(0xfee0_0000, UInt64(table), .quadword)
    view.write(0x51, UInt64(table) + 8, .quadword)
    if let msix = capability(0x11, bus, device) { write(0x8000, bus, device, 0, msix + 2, .word) }
  }
}
