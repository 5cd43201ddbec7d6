import ArchitectureX86
import CProcessor

/// Pushes and pops that take effect together, or not at all.
struct StackFrame {
  private let core: Core
  private(set) var pointer: UInt64
  /// Where the stack segment starts, how wide its pointer is, and at which privilege it is reached.
  private let base: UInt64
  private let mask: UInt64
  private let user: Bool
  /// What the segment holds; `nil` in 64-bit mode.
  private let bounds: SegmentBounds?
  /// What is raised beyond that.
  private let refused: Fault

  /// On the current stack.
  init(_ core: Core) {
    let is64Bit = core.cpu.pointee.code_mode == 2
    self.core = core
    pointer = core.cpu.stackPointer
    base = is64Bit ? 0 : core.cpu.segmentBase(2)
    mask = core.cpu.pointee.stack_mask
    user = core.cpu.pointee.privilege == 3
    bounds = is64Bit ? nil : core.cpu.bounds(2)
    refused = .stack(0)
  }

  /// On a stack that is about to be entered, in 64-bit mode.
  init(_ core: Core, pointer: UInt64, user: Bool) {
    self.core = core
    self.pointer = pointer
    base = 0
    mask = .max
    self.user = user
    bounds = nil
    refused = .stack(0)
  }

  /// The same in protected mode, by the stack segment's descriptor.
  init(_ core: Core, pointer: UInt64, _ selector: UInt16, _ descriptor: Descriptor, user: Bool) {
    self.core = core
    mask = descriptor.isBig ? 0xffff_ffff : 0xffff
    self.pointer = pointer & mask
    base = descriptor.base
    self.user = user
    bounds = descriptor.bounds
    refused = .stack(selector)
  }

  mutating func push(_ value: UInt64, _ log2: Int) throws(Fault) {
    let size: UInt64 = 1 << UInt64(log2)
    let top = (pointer &- size) & mask
    try core.systemStore(address(top, Int(size), write: true), value, Int(size), user: user)
    pointer = top
  }

  mutating func pop(_ log2: Int) throws(Fault) -> UInt64 {
    let value = try peek(at: 0, log2)
    pointer = (pointer &+ 1 << UInt64(log2)) & mask
    return value
  }

  /// What lies `depth` bytes above the top.
  func peek(at depth: UInt64, _ log2: Int) throws(Fault) -> UInt64 {
    let size = 1 << log2
    let place = (pointer &+ depth) & mask
    return try core.systemLoad(address(place, size, write: false), size, user: user)
  }

  mutating func release(_ count: UInt64) { pointer = (pointer &+ count) & mask }

  /// Makes the stack pointer's change true.
  func commit() { core.cpu.setStackPointer(pointer) }

  /// The linear address of so many bytes of the stack, which the user's must be aligned to while that is checked.
  private func address(_ offset: UInt64, _ size: Int, write: Bool) throws(Fault) -> UInt64 {
    let address = try uncheckedAddress(offset, size, write: write)
    guard !user || core.permitsAlignment(address, size) else { throw core.takeFault() }
    return address
  }

  private func uncheckedAddress(
    _ offset: UInt64, _ size: Int, write: Bool
  ) throws(Fault) -> UInt64 {
    guard let bounds else {
      guard core.isCanonical(offset), core.isCanonical(offset &+ UInt64(size - 1)) else {
        throw refused
      }
      return offset
    }
    guard bounds.permit(offset, size, write: write) else { throw refused }
    return (base &+ offset) & 0xffff_ffff
  }
}
