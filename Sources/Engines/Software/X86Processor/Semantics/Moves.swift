import CProcessor

// Loads, stores and moves between registers: MOV, MOVZX, MOVSX, MOVSXD, LEA, XCHG, CMOVcc, BSWAP.

// MARK: - Loads into a register or temporary

@inline(__always)
func loadTo<A: Addressing, T: Width>(_: A.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, MemoryLayout<T>.size, write: false),
    let value = load(cpu, op, address, T.self)
  else { return }
  cpu.set(op.pointee.destination, value)
  return next(cpu, op)
}

/// Loads a byte or word and widens it, its sign repeated or not, to 32 or 64 bits.
@inline(__always)
func loadWidened<A: Addressing, T: Width>(
  _: A.Type, _: T.Type, signed: Bool, _ cpu: CPU, _ op: Op
) {
  guard let address = A.linear(cpu, op, MemoryLayout<T>.size, write: false),
    let value = load(cpu, op, address, T.self)
  else { return }
  cpu.set(op.pointee.destination, signed ? value.extended : UInt64(truncatingIfNeeded: value))
  return next(cpu, op)
}

/// The first half of a read-modify-write: the page must be writable before anything changes.
@inline(__always)
func loadForModify<A: Addressing, T: Width>(_: A.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  let size = MemoryLayout<T>.size
  guard let address = A.linear(cpu, op, size, write: true) else { return }
  let entry = tlbEntry(cpu, address)
  if _fastPath(entry.pointee.write_tag == (address &+ UInt64(size &- 1)) & ~pageMask) {
    let host = hostPointer(address, entry.pointee.host)
    cpu.pointee.rmw_host = UInt64(UInt(bitPattern: host))
    cpu.set(op.pointee.destination, host.loadUnaligned(as: T.self))
    return next(cpu, op)
  }
  guard prepareModify(cpu, op, address, size) else { return }
  cpu.set(op.pointee.destination, T(truncatingIfNeeded: cpu.pointee.slow_value.0))
  return next(cpu, op)
}

@inline(never)
func prepareModify(_ cpu: CPU, _ op: Op, _ address: UInt64, _ size: Int) -> Bool {
  cpu.pointee.rip = cpu.rip(of: op)
  cpu.pointee.rmw_host = 0
  cpu.pointee.rmw_linear = address
  return cpu.core { core in
    core.permitsAlignment(address, size) && core.translate(address, write: true) != nil
      && core.translate(
        (address &+ UInt64(size - 1)) & cpu.pointee.address_mask, write: true) != nil
      && core.load(address, size)
  } || raiseOnStack(cpu, op)
}

@inline(__always)
func storeModified<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let value = cpu.get(op.pointee.source, T.self)
  if let host = UnsafeMutableRawPointer(bitPattern: UInt(cpu.pointee.rmw_host)) {
    host.storeBytes(of: value, as: T.self)
    return next(cpu, op)
  }
  guard
    storeSlow(
      cpu, op, cpu.pointee.rmw_linear, UInt64(truncatingIfNeeded: value), MemoryLayout<T>.size)
  else { return }
  return next(cpu, op)
}

let modifyStore: [Handler] = [
  { storeModified(UInt8.self, $0, $1) }, { storeModified(UInt16.self, $0, $1) },
  { storeModified(UInt32.self, $0, $1) }, { storeModified(UInt64.self, $0, $1) },
]

/// By operand width.
enum Loads {
  static let plain: [MemoryHandlers] = [
    .init(
      { loadTo(Flat.self, UInt8.self, $0, $1) }, { loadTo(Based.self, UInt8.self, $0, $1) },
      { loadTo(Segmented.self, UInt8.self, $0, $1) }),
    .init(
      { loadTo(Flat.self, UInt16.self, $0, $1) }, { loadTo(Based.self, UInt16.self, $0, $1) },
      { loadTo(Segmented.self, UInt16.self, $0, $1) }),
    .init(
      { loadTo(Flat.self, UInt32.self, $0, $1) }, { loadTo(Based.self, UInt32.self, $0, $1) },
      { loadTo(Segmented.self, UInt32.self, $0, $1) }),
    .init(
      { loadTo(Flat.self, UInt64.self, $0, $1) }, { loadTo(Based.self, UInt64.self, $0, $1) },
      { loadTo(Segmented.self, UInt64.self, $0, $1) }),
  ]

  static let forModify: [MemoryHandlers] = [
    .init(
      { loadForModify(Flat.self, UInt8.self, $0, $1) },
      { loadForModify(Based.self, UInt8.self, $0, $1) },
      { loadForModify(Segmented.self, UInt8.self, $0, $1) }),
    .init(
      { loadForModify(Flat.self, UInt16.self, $0, $1) },
      { loadForModify(Based.self, UInt16.self, $0, $1) },
      { loadForModify(Segmented.self, UInt16.self, $0, $1) }),
    .init(
      { loadForModify(Flat.self, UInt32.self, $0, $1) },
      { loadForModify(Based.self, UInt32.self, $0, $1) },
      { loadForModify(Segmented.self, UInt32.self, $0, $1) }),
    .init(
      { loadForModify(Flat.self, UInt64.self, $0, $1) },
      { loadForModify(Based.self, UInt64.self, $0, $1) },
      { loadForModify(Segmented.self, UInt64.self, $0, $1) }),
  ]

  /// A byte, a word or a doubleword, zero-extended to 64 bits.
  static let zeroExtended: [MemoryHandlers] = [
    .init(
      { loadWidened(Flat.self, UInt8.self, signed: false, $0, $1) },
      { loadWidened(Based.self, UInt8.self, signed: false, $0, $1) },
      { loadWidened(Segmented.self, UInt8.self, signed: false, $0, $1) }),
    .init(
      { loadWidened(Flat.self, UInt16.self, signed: false, $0, $1) },
      { loadWidened(Based.self, UInt16.self, signed: false, $0, $1) },
      { loadWidened(Segmented.self, UInt16.self, signed: false, $0, $1) }),
    .init(
      { loadWidened(Flat.self, UInt32.self, signed: false, $0, $1) },
      { loadWidened(Based.self, UInt32.self, signed: false, $0, $1) },
      { loadWidened(Segmented.self, UInt32.self, signed: false, $0, $1) }),
  ]

  /// The same with the sign repeated.
  static let signExtended: [MemoryHandlers] = [
    .init(
      { loadWidened(Flat.self, UInt8.self, signed: true, $0, $1) },
      { loadWidened(Based.self, UInt8.self, signed: true, $0, $1) },
      { loadWidened(Segmented.self, UInt8.self, signed: true, $0, $1) }),
    .init(
      { loadWidened(Flat.self, UInt16.self, signed: true, $0, $1) },
      { loadWidened(Based.self, UInt16.self, signed: true, $0, $1) },
      { loadWidened(Segmented.self, UInt16.self, signed: true, $0, $1) }),
    .init(
      { loadWidened(Flat.self, UInt32.self, signed: true, $0, $1) },
      { loadWidened(Based.self, UInt32.self, signed: true, $0, $1) },
      { loadWidened(Segmented.self, UInt32.self, signed: true, $0, $1) }),
  ]

  /// LEA: the offset alone.
  static let effectiveAddress: Handler = { cpu, op in
    cpu.set(op.pointee.destination, cpu.offset(op))
    return next(cpu, op)
  }
}

// MARK: - Stores

@inline(__always)
func storeFrom<A: Addressing, T: Width>(_: A.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, MemoryLayout<T>.size, write: true),
    store(cpu, op, address, cpu.get(op.pointee.source, T.self))
  else { return }
  return next(cpu, op)
}

@inline(__always)
func storeConstant<A: Addressing, T: Width>(_: A.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, MemoryLayout<T>.size, write: true),
    store(cpu, op, address, T(truncatingIfNeeded: op.pointee.immediate))
  else { return }
  return next(cpu, op)
}

enum Stores {
  static let plain: [MemoryHandlers] = [
    .init(
      { storeFrom(Flat.self, UInt8.self, $0, $1) }, { storeFrom(Based.self, UInt8.self, $0, $1) },
      { storeFrom(Segmented.self, UInt8.self, $0, $1) }),
    .init(
      { storeFrom(Flat.self, UInt16.self, $0, $1) },
      { storeFrom(Based.self, UInt16.self, $0, $1) },
      { storeFrom(Segmented.self, UInt16.self, $0, $1) }),
    .init(
      { storeFrom(Flat.self, UInt32.self, $0, $1) },
      { storeFrom(Based.self, UInt32.self, $0, $1) },
      { storeFrom(Segmented.self, UInt32.self, $0, $1) }),
    .init(
      { storeFrom(Flat.self, UInt64.self, $0, $1) },
      { storeFrom(Based.self, UInt64.self, $0, $1) },
      { storeFrom(Segmented.self, UInt64.self, $0, $1) }),
  ]

  static let constant: [MemoryHandlers] = [
    .init(
      { storeConstant(Flat.self, UInt8.self, $0, $1) },
      { storeConstant(Based.self, UInt8.self, $0, $1) },
      { storeConstant(Segmented.self, UInt8.self, $0, $1) }),
    .init(
      { storeConstant(Flat.self, UInt16.self, $0, $1) },
      { storeConstant(Based.self, UInt16.self, $0, $1) },
      { storeConstant(Segmented.self, UInt16.self, $0, $1) }),
    .init(
      { storeConstant(Flat.self, UInt32.self, $0, $1) },
      { storeConstant(Based.self, UInt32.self, $0, $1) },
      { storeConstant(Segmented.self, UInt32.self, $0, $1) }),
    .init(
      { storeConstant(Flat.self, UInt64.self, $0, $1) },
      { storeConstant(Based.self, UInt64.self, $0, $1) },
      { storeConstant(Segmented.self, UInt64.self, $0, $1) }),
  ]
}

// MARK: - Between registers

@inline(__always)
func move<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  cpu.set(op.pointee.destination, cpu.get(op.pointee.source, T.self))
  return next(cpu, op)
}

@inline(__always)
func moveConstant<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  cpu.set(op.pointee.destination, T(truncatingIfNeeded: op.pointee.immediate))
  return next(cpu, op)
}

@inline(__always)
func moveWidened<T: Width>(_: T.Type, signed: Bool, _ cpu: CPU, _ op: Op) {
  let value = cpu.get(op.pointee.source, T.self)
  cpu.set(op.pointee.destination, signed ? value.extended : UInt64(truncatingIfNeeded: value))
  return next(cpu, op)
}

@inline(__always)
func exchangeRegisters<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let a = cpu.get(op.pointee.destination, T.self)
  let b = cpu.get(op.pointee.source, T.self)
  cpu.set(op.pointee.destination, b)
  cpu.set(op.pointee.source, a)
  return next(cpu, op)
}

let moves: [Handler] = [
  { move(UInt8.self, $0, $1) }, { move(UInt16.self, $0, $1) }, { move(UInt32.self, $0, $1) },
  { move(UInt64.self, $0, $1) },
]

let moveConstants: [Handler] = [
  { moveConstant(UInt8.self, $0, $1) }, { moveConstant(UInt16.self, $0, $1) },
  { moveConstant(UInt32.self, $0, $1) }, { moveConstant(UInt64.self, $0, $1) },
]

let zeroExtensions: [Handler] = [
  { moveWidened(UInt8.self, signed: false, $0, $1) },
  { moveWidened(UInt16.self, signed: false, $0, $1) },
  { moveWidened(UInt32.self, signed: false, $0, $1) },
]

let signExtensions: [Handler] = [
  { moveWidened(UInt8.self, signed: true, $0, $1) },
  { moveWidened(UInt16.self, signed: true, $0, $1) },
  { moveWidened(UInt32.self, signed: true, $0, $1) },
]

let registerExchanges: [Handler] = [
  { exchangeRegisters(UInt8.self, $0, $1) }, { exchangeRegisters(UInt16.self, $0, $1) },
  { exchangeRegisters(UInt32.self, $0, $1) }, { exchangeRegisters(UInt64.self, $0, $1) },
]

/// CMOVcc; `detail` is the condition. A false one with a 32-bit operand clears the upper half all the same.
@inline(__always)
func conditionalMove<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let holds = cpu.condition(op.pointee.detail)
  cpu.set(
    op.pointee.destination, cpu.get(holds ? op.pointee.source : op.pointee.destination, T.self))
  return next(cpu, op)
}

let conditionalMoves: [Handler] = [
  { conditionalMove(UInt16.self, $0, $1) }, { conditionalMove(UInt16.self, $0, $1) },
  { conditionalMove(UInt32.self, $0, $1) }, { conditionalMove(UInt64.self, $0, $1) },
]

/// SETcc; `detail` is the condition.
let setCondition: Handler = { cpu, op in
  cpu.set(op.pointee.destination, (cpu.condition(op.pointee.detail) ? 1 : 0) as UInt8)
  return next(cpu, op)
}

/// BSWAP; of a 16-bit operand the result is undefined, and zero here.
let byteSwaps: [Handler] = [
  { cpu, op in
    cpu.set(op.pointee.destination, 0 as UInt16)
    return next(cpu, op)
  },
  { cpu, op in
    cpu.set(op.pointee.destination, cpu.get(op.pointee.destination, UInt32.self).byteSwapped)
    return next(cpu, op)
  },
  { cpu, op in
    cpu.set(op.pointee.destination, cpu.get(op.pointee.destination, UInt64.self).byteSwapped)
    return next(cpu, op)
  },
]

/// CBW, CWDE, CDQE and CWD, CDQ, CQO are widenings of the accumulator.
let signOfAccumulator: [Handler] = [
  { cpu, op in
    cpu.set(Slot.rdx, UInt16(bitPattern: cpu.get(Slot.rax, UInt16.self).signed &>> 15))
    return next(cpu, op)
  },
  { cpu, op in
    cpu.set(Slot.rdx, UInt32(bitPattern: cpu.get(Slot.rax, UInt32.self).signed &>> 31))
    return next(cpu, op)
  },
  { cpu, op in
    cpu.set(Slot.rdx, UInt64(bitPattern: cpu.get(Slot.rax, UInt64.self).signed &>> 63))
    return next(cpu, op)
  },
]
