import CProcessor

// VMASKMOV, VPMASKMOV and gathers: memory operands of which a mask's top bits choose the elements. What is not
// chosen is not touched, and so raises no exception.

/// What `detail` says of such an instruction.
private enum Detail {
  static let quadwordElements: UInt8 = 1
  static let quadwordIndices: UInt8 = 2
  static let wide: UInt8 = 4
}

/// Whether the top bit of an element is set.
@inline(__always)
private func isChosen(_ mask: SIMD8<UInt32>, _ index: Int, _ log2: Int) -> Bool {
  log2 == 3 ? mask[2 &* index &+ 1] >> 31 != 0 : mask[index] >> 31 != 0
}

/// Loads an element; `nil` once an exception was raised.
private func loadElement(_ cpu: CPU, _ op: Op, _ offset: UInt64, _ log2: Int) -> UInt64? {
  guard let address = segmentedAddress(cpu, op, 1 &<< log2, offset, write: false) else {
    return nil
  }
  let size = 1 &<< log2
  let entry = tlbEntry(cpu, address)
  if entry.pointee.read_tag == (address &+ UInt64(size &- 1)) & ~pageMask {
    let host = hostPointer(address, entry.pointee.host)
    return log2 == 3
      ? host.loadUnaligned(as: UInt64.self) : UInt64(host.loadUnaligned(as: UInt32.self))
  }
  // Not by `load`, which checks alignment.
  cpu.pointee.rip = cpu.rip(of: op)
  guard cpu.core({ $0.load(address, size) }) || raiseOnStack(cpu, op) else { return nil }
  return cpu.pointee.slow_value.0
}

/// Stores an element; `false` once an exception was raised.
private func storeElement(
  _ cpu: CPU, _ op: Op, _ address: UInt64, _ value: UInt64, _ log2: Int
) -> Bool {
  let size = 1 &<< log2
  let entry = tlbEntry(cpu, address)
  if entry.pointee.write_tag == (address &+ UInt64(size &- 1)) & ~pageMask {
    let host = hostPointer(address, entry.pointee.host)
    if log2 == 3 {
      host.storeBytes(of: value, as: UInt64.self)
    } else {
      host.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
    }
    return true
  }
  // Not by `store`, which checks alignment.
  cpu.pointee.rip = cpu.rip(of: op)
  return cpu.core { $0.store(address, value, size) } || raiseOnStack(cpu, op)
}

/// Puts an element into a vector.
private func place(_ value: UInt64, _ vector: inout SIMD8<UInt32>, _ index: Int, _ log2: Int) {
  if log2 == 3 {
    vector[2 &* index] = UInt32(truncatingIfNeeded: value)
    vector[2 &* index &+ 1] = UInt32(truncatingIfNeeded: value >> 32)
  } else {
    vector[index] = UInt32(truncatingIfNeeded: value)
  }
}

enum MaskedMoves {
  /// Into `destination`, by the mask in `source`.
  static let load: Handler = { cpu, op in
    guard loadMasked(cpu, op) else { return }
    return next(cpu, op)
  }
  /// The other way.
  static let store: Handler = { cpu, op in
    guard storeMasked(cpu, op) else { return }
    return next(cpu, op)
  }
  static let gather: Handler = { cpu, op in
    guard gatherElements(cpu, op) else { return }
    return next(cpu, op)
  }
}

@inline(never)
private func loadMasked(_ cpu: CPU, _ op: Op) -> Bool {
  let log2 = op.pointee.detail & Detail.quadwordElements != 0 ? 3 : 2
  let bytes = op.pointee.detail & Detail.wide != 0 ? 32 : 16
  let mask = cpu.wide(op.pointee.source, as: SIMD8<UInt32>.self)
  let start = cpu.offset(op)
  var result = SIMD8<UInt32>()
  for index in 0..<bytes &>> log2 where isChosen(mask, index, log2) {
    let offset = start &+ UInt64(index &<< log2)
    guard let value = loadElement(cpu, op, offset, log2) else { return false }
    place(value, &result, index, log2)
  }
  cpu.setWide(op.pointee.destination, result)
  return true
}

@inline(never)
private func storeMasked(_ cpu: CPU, _ op: Op) -> Bool {
  let log2 = op.pointee.detail & Detail.quadwordElements != 0 ? 3 : 2
  let count = (op.pointee.detail & Detail.wide != 0 ? 32 : 16) &>> log2
  let mask = cpu.wide(op.pointee.source, as: SIMD8<UInt32>.self)
  let value = cpu.wide(op.pointee.destination, as: SIMD8<UInt32>.self)
  let start = cpu.offset(op)
  // Nothing is written unless everything can be.
  for isTrial in [true, false] {
    for index in 0..<count where isChosen(mask, index, log2) {
      let size = 1 &<< log2
      let offset = start &+ UInt64(index &<< log2)
      guard let address = segmentedAddress(cpu, op, size, offset, write: true) else { return false }
      let isDone =
        isTrial
        ? isWritable(cpu, op, address, size)
        : storeElement(
          cpu, op, address,
          log2 == 3 ? cast(value, to: SIMD4<UInt64>.self)[index] : UInt64(value[index]), log2)
      guard isDone else { return false }
    }
  }
  return true
}

/// VPGATHERDD and its kin. `immediate` names the vector of indices, and their scale above that. An element that is
/// loaded leaves the mask, so that the instruction, restarted after a page fault, goes on with the next one: SDM
/// Vol. 2C, "VGATHERDPS/VGATHERDPD".
@inline(never)
private func gatherElements(_ cpu: CPU, _ op: Op) -> Bool {
  let detail = op.pointee.detail
  let log2 = detail & Detail.quadwordElements != 0 ? 3 : 2
  let hasWideIndices = detail & Detail.quadwordIndices != 0
  let bytes = detail & Detail.wide != 0 ? 32 : 16
  let count = bytes &>> (hasWideIndices ? 3 : log2)
  let indices = cpu.wide(
    UInt8(truncatingIfNeeded: op.pointee.immediate), as: SIMD8<UInt32>.self)
  let scale = op.pointee.immediate >> 8
  let start = cpu.offset(op)
  let old = cpu.wide(op.pointee.source, as: SIMD8<UInt32>.self)
  let before = cpu.wide(op.pointee.destination, as: SIMD8<UInt32>.self)
  var mask = SIMD8<UInt32>()
  var result = SIMD8<UInt32>()
  for index in 0..<count {
    if isChosen(old, index, log2) { place(.max, &mask, index, log2) }
    let kept: UInt64 =
      log2 == 3 ? cast(before, to: SIMD4<UInt64>.self)[index] : UInt64(before[index])
    place(kept, &result, index, log2)
  }
  var isWhole = true
  for index in 0..<count where isChosen(mask, index, log2) {
    let place64 = cast(indices, to: SIMD4<Int64>.self)
    let distance: Int64 =
      hasWideIndices
      ? place64[index] : Int64(Int32(bitPattern: indices[index]))
    let offset = start &+ UInt64(bitPattern: distance) &<< scale
    guard let value = loadElement(cpu, op, offset, log2) else {
      isWhole = false
      break
    }
    place(value, &result, index, log2)
    place(0, &mask, index, log2)
  }
  cpu.setWide(op.pointee.destination, result)
  cpu.setWide(op.pointee.source, mask)
  return isWhole
}

// MARK: - Translation

extension Translator {
  /// VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ: VEX.vvvv names the mask.
  mutating func maskedMove(log2: Int, isStore: Bool) -> Flow? {
    guard i.isMemory else { return nil }
    let handler = isStore ? MaskedMoves.store : MaskedMoves.load
    emit(
      MemoryHandlers(handler, handler, handler), d: i.reg, s: firstSource,
      detail: (log2 == 3 ? Detail.quadwordElements : 0) | (isWide ? Detail.wide : 0))
    return .sequential
  }

  /// 0F 38 90 to 93. The SIB byte's index is a vector register (SDM Vol. 2A §2.3.12), which must be another than
  /// the mask's and the destination's.
  mutating func gather() -> Flow? {
    guard i.isMemory, i.addressSize != 0, i.modRM & 7 == 4 else { return nil }
    let index = i.index ?? 4
    guard index != i.reg, index != firstSource, i.reg != firstSource else { return nil }
    i.index = nil
    let handler = MaskedMoves.gather
    emit(
      MemoryHandlers(handler, handler, handler), d: i.reg, s: firstSource,
      immediate: UInt64(index) | UInt64(i.scale) << 8,
      detail: (isW ? Detail.quadwordElements : 0)
        | (i.opcode & 1 != 0 ? Detail.quadwordIndices : 0) | (isWide ? Detail.wide : 0))
    return .sequential
  }
}
