import Board
import Kit
import Memory
import PCI
import Virtio

/// A driver that does what a script says: what the standard asks of it, and anything else.
struct VirtioLife {
  private let rig: VirtioRig
  /// Hands out another one, for a moment.
  private let twin: ((VirtioRig) -> Void) -> Void
  private var saves = 0

  /// Where the driver's buffers are; its queues are below.
  private static let data: UInt64 = 0x4_0000
  private static let mostSaves = 2
  private static let mostTaken = 64

  init(_ rig: VirtioRig, twin: @escaping ((VirtioRig) -> Void) -> Void) {
    self.rig = rig
    self.twin = twin
  }

  private var driver: GuestDriver { rig.driver }

  mutating func step(_ script: inout Script) {
    switch script.byte() & 15 {
    case 0: begin(&script)
    case 1, 2: offer(&script)
    case 3: rig.loop.run()
    case 4: register(&script)
    case 5: memory(&script)
    case 6: descriptor(&script)
    case 7: index(&script)
    case 8: driver.transport.notify(queue: Int(script.byte()))
    case 9: takeBack(&script)
    case 10: rig.backend.stir(&script)
    case 11: driver.transport.status = script.byte()
    case 12: resetQueue(&script)
    case 13: driver.transport.setConfiguration(script.bytes(1), at: Int(script.byte()))
    case 14: rest()
    default: configurationSpace(&script)
    }
  }

  /// Whatever happened: the device comes to rest, and a reset brings it back.
  func end() {
    rig.stop()
    rig.start()
    rig.configuration?.writeConfiguration(7, mask: 0xffff, 4)
    rig.component.reset()
    rig.loop.run()
    rig.stop()
  }

  // MARK: - What a driver does

  /// Negotiates, and sets up queues of a size that the script likes.
  private mutating func begin(_ script: inout Script) {
    let features = script.byte()
    var wanted: UInt64 = script.flag() ? .max : script.number()
    for (bit, feature) in [
      GuestDriver.packed, GuestDriver.eventIndex, GuestDriver.indirect, GuestDriver.inOrder,
      GuestDriver.ringReset,
    ].enumerated() where features >> UInt8(bit) & 1 == 0 { wanted &= ~feature }
    if features & 0x40 == 0 { wanted |= GuestDriver.version1 }
    driver.free = 0x8000
    guard driver.negotiate(wanted) else { return }
    driver.begin(queueSize: UInt16(script.byte() & 31) + 1, count: 8)
    if features & 0x80 != 0 { rig.loop.run() }
  }

  private func queue(_ script: inout Script) -> GuestQueue? {
    driver.queues.isEmpty ? nil : driver.queues[script.pick(driver.queues.count)]
  }

  /// A chain: what the device reads is the script's next message, in a buffer or several; then buffers for answers.
  private mutating func offer(_ script: inout Script) {
    guard let queue = queue(&script) else { return }
    let shape = script.byte()
    let place = Self.data + UInt64(script.byte()) << 8
    let bytes = rig.backend.message(&script)
    driver.put(bytes, at: place)
    var buffers: [GuestQueue.Buffer] = []
    if !bytes.isEmpty {
      let first = shape & 1 == 0 ? bytes.count : min(bytes.count, 16)
      buffers.append(.init(place, first))
      if first < bytes.count { buffers.append(.init(place + UInt64(first), bytes.count - first)) }
    }
    for index in 0..<UInt64(shape >> 1 & 3) {
      let size = Int(script.byte())
      let count = size < 0xf0 ? size : 1 << (size & 15)
      buffers.append(.init(Self.data + 0x2_0000 + index << 14, count, writable: true))
    }
    if shape & 8 != 0 { buffers.reverse() }
    _ = queue.add(buffers, indirect: shape & 16 != 0 && !buffers.isEmpty)
    if shape & 32 == 0 { queue.kick() }
    if shape & 64 == 0 { rig.loop.run() }
  }

  private mutating func takeBack(_ script: inout Script) {
    guard let queue = queue(&script) else { return }
    queue.wantInterrupts(script.flag())
    for _ in 0..<Self.mostTaken { if queue.take() == nil { break } }
    _ = driver.transport.takeInterruptStatus()
  }

  private mutating func resetQueue(_ script: inout Script) {
    let index = Int(script.byte() & 7)
    driver.transport.select(queue: index)
    driver.transport.resetQueue()
    if script.flag() { rig.loop.run() }
    if script.flag() { driver.transport.isQueueEnabled = true }
    if script.flag() { _ = driver.enable(index, size: 8) }
  }

  // MARK: - What none should do

  private mutating func register(_ script: inout Script) {
    let range = rig.registers[script.pick(rig.registers.count)]
    let width = AccessWidth.allCases[script.pick(4)]
    let address = range.lowerBound + UInt64(script.number(UInt16.self)) % UInt64(range.count)
    var view = BusView(rig.bus)
    if script.flag() {
      let answer = view.read(address, width)
      require(answer & ~width.mask == 0, "a read answers no more bits than it is wide")
    } else {
      view.write(script.value(), address, width)
    }
  }

  private mutating func memory(_ script: inout Script) {
    let place = script.number(UInt32.self) & 0xf_ffff
    driver.put(script.piece(), at: UInt64(place))
  }

  /// Changes a field of a descriptor.
  private mutating func descriptor(_ script: inout Script) {
    guard let queue = queue(&script) else { return }
    let place = queue.descriptorArea + 16 * UInt64(script.byte() % 32)
    let field = script.byte() & 3
    let value = script.value()
    let (offset, count) = [(0, 8), (8, 4), (12, 2), (14, 2)][Int(field)]
    driver.put(
      (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) },
      at: place + UInt64(offset))
  }

  /// Changes what the driver tells in its own area, or the device in its.
  private mutating func index(_ script: inout Script) {
    guard let queue = queue(&script) else { return }
    let area = script.flag() ? queue.driverArea : queue.deviceArea
    let value = script.number(UInt16.self)
    driver.put(
      [UInt8(truncatingIfNeeded: value), UInt8(value >> 8)],
      at: area + 2 * UInt64(script.byte() & 63))
  }

  private mutating func configurationSpace(_ script: inout Script) {
    guard let space = rig.configuration else { return }
    let register = UInt16(script.byte()) & ~3
    if script.flag() {
      _ = space.readConfiguration(register)
      return
    }
    let mask: [UInt32] = [0xff, 0xffff, .max, 0xffff_0000]
    space.writeConfiguration(
      UInt32(truncatingIfNeeded: script.value()), mask: mask[script.pick(4)], register)
  }

  /// Stops the device, saves it, now and then brings up another one from what was saved, and goes on.
  private mutating func rest() {
    rig.stop()
    if saves < Self.mostSaves {
      saves += 1
      twin { other in
        do {
          let saved = try rig.component.savedPart(named: "device")
          other.stop()
          try other.component.restore(from: saved)
          let again = try other.component.savedPart(named: "device")
          require(again == saved, "saved, restored and saved again, the state is the same")
        } catch {
          fatalError("Broken: a device at rest is saved and restored: \(error)")
        }
      }
    }
    rig.start()
  }
}
