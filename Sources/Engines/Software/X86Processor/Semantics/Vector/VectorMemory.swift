import ArchitectureX86
import CProcessor

// Memory operands of vector instructions. What a store writes lies on at most two pages; both are found
// writable before anything changes.

// MARK: - Loads into a vector register or scratch

/// Loads an integer and clears what is above it.
@inline(__always)
func loadVector<A: Addressing, T: Width>(_: A.Type, _: T.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, MemoryLayout<T>.size, write: false),
    let value = load(cpu, op, address, T.self)
  else { return }
  cpu.setVector(op.pointee.destination, Quadwords(UInt64(truncatingIfNeeded: value), 0))
  return next(cpu, op)
}

/// Loads eight bytes into one half of a register.
@inline(__always)
func loadHalf<A: Addressing>(_: A.Type, high: Bool, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, 8, write: false),
    let value = load(cpu, op, address, UInt64.self)
  else { return }
  (cpu.vectorBytes(op.pointee.destination) + (high ? 8 : 0)).storeBytes(of: value, as: UInt64.self)
  return next(cpu, op)
}

/// Loads 16 bytes.
@inline(__always)
func loadWhole<A: Addressing>(_: A.Type, aligned: Bool, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, 16, write: false),
    !aligned || isAligned(cpu, op, address, 16)
  else { return }
  let entry = tlbEntry(cpu, address)
  if _fastPath(entry.pointee.read_tag == (address &+ 15) & ~pageMask) {
    cpu.setVector(
      op.pointee.destination,
      hostPointer(address, entry.pointee.host).loadUnaligned(as: Quadwords.self))
    return next(cpu, op)
  }
  guard loadSlowly(cpu, op, address, 16) else { return }
  return next(cpu, op)
}

/// Loads 32 bytes.
@inline(__always)
func loadWide<A: Addressing>(_: A.Type, aligned: Bool, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, 32, write: false),
    !aligned || isAligned(cpu, op, address, 32)
  else { return }
  let entry = tlbEntry(cpu, address)
  if _fastPath(entry.pointee.read_tag == (address &+ 31) & ~pageMask) {
    let host = hostPointer(address, entry.pointee.host)
    cpu.setVector(op.pointee.destination, host.loadUnaligned(as: Quadwords.self))
    cpu.setVector(
      upper(op.pointee.destination), host.loadUnaligned(fromByteOffset: 16, as: Quadwords.self))
    return next(cpu, op)
  }
  guard loadSlowly(cpu, op, address, 32) else { return }
  return next(cpu, op)
}

/// Loads a register that lies on two pages or in a device: all of it or, after an exception, nothing.
@inline(never)
private func loadSlowly(_ cpu: CPU, _ op: Op, _ address: UInt64, _ count: Int) -> Bool {
  guard permitsAlignment(cpu, op, address, 16) else { return false }
  var halves: (Quadwords, Quadwords) = (Quadwords(0, 0), Quadwords(0, 0))
  let isLoaded = withUnsafeMutableBytes(of: &halves) {
    loadBlock(cpu, op, address, into: $0.baseAddress.unsafelyUnwrapped, count)
  }
  guard isLoaded else { return false }
  cpu.setVector(op.pointee.destination, halves.0)
  if count > 16 { cpu.setVector(upper(op.pointee.destination), halves.1) }
  return true
}

/// Operands of 16 and 32 bytes: SDM Vol. 1 §4.1.1 "Alignment of Words, Doublewords, Quadwords, and Double
/// Quadwords".
@inline(__always)
private func isAligned(_ cpu: CPU, _ op: Op, _ address: UInt64, _ size: UInt64) -> Bool {
  if _fastPath(address & (size &- 1) == 0) { return true }
  raise(cpu, op, X86.Exception.generalProtection, code: 0)
  return false
}

enum VectorLoads {
  static let byte = MemoryHandlers(
    { loadVector(Flat.self, UInt8.self, $0, $1) },
    { loadVector(Based.self, UInt8.self, $0, $1) },
    { loadVector(Segmented.self, UInt8.self, $0, $1) })
  static let word = MemoryHandlers(
    { loadVector(Flat.self, UInt16.self, $0, $1) },
    { loadVector(Based.self, UInt16.self, $0, $1) },
    { loadVector(Segmented.self, UInt16.self, $0, $1) })
  static let doubleword = MemoryHandlers(
    { loadVector(Flat.self, UInt32.self, $0, $1) },
    { loadVector(Based.self, UInt32.self, $0, $1) },
    { loadVector(Segmented.self, UInt32.self, $0, $1) })
  static let quadword = MemoryHandlers(
    { loadVector(Flat.self, UInt64.self, $0, $1) },
    { loadVector(Based.self, UInt64.self, $0, $1) },
    { loadVector(Segmented.self, UInt64.self, $0, $1) })
  static let aligned = MemoryHandlers(
    { loadWhole(Flat.self, aligned: true, $0, $1) },
    { loadWhole(Based.self, aligned: true, $0, $1) },
    { loadWhole(Segmented.self, aligned: true, $0, $1) })
  static let unaligned = MemoryHandlers(
    { loadWhole(Flat.self, aligned: false, $0, $1) },
    { loadWhole(Based.self, aligned: false, $0, $1) },
    { loadWhole(Segmented.self, aligned: false, $0, $1) })
  static let wideAligned = MemoryHandlers(
    { loadWide(Flat.self, aligned: true, $0, $1) },
    { loadWide(Based.self, aligned: true, $0, $1) },
    { loadWide(Segmented.self, aligned: true, $0, $1) })
  static let wide = MemoryHandlers(
    { loadWide(Flat.self, aligned: false, $0, $1) },
    { loadWide(Based.self, aligned: false, $0, $1) },
    { loadWide(Segmented.self, aligned: false, $0, $1) })
  static let lowHalf = MemoryHandlers(
    { loadHalf(Flat.self, high: false, $0, $1) }, { loadHalf(Based.self, high: false, $0, $1) },
    { loadHalf(Segmented.self, high: false, $0, $1) })
  static let highHalf = MemoryHandlers(
    { loadHalf(Flat.self, high: true, $0, $1) }, { loadHalf(Based.self, high: true, $0, $1) },
    { loadHalf(Segmented.self, high: true, $0, $1) })
}

// MARK: - Stores

/// Stores the low bytes of a register, or those from its middle.
@inline(__always)
func storeVector<A: Addressing, T: Width>(
  _: A.Type, _: T.Type, high: Bool = false, _ cpu: CPU, _ op: Op
) {
  let value = (cpu.vectorBytes(op.pointee.source) + (high ? 8 : 0)).load(as: T.self)
  guard let address = A.linear(cpu, op, MemoryLayout<T>.size, write: true),
    store(cpu, op, address, value)
  else { return }
  return next(cpu, op)
}

/// Stores 16 bytes.
@inline(__always)
func storeWhole<A: Addressing>(_: A.Type, aligned: Bool, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, 16, write: true),
    !aligned || isAligned(cpu, op, address, 16)
  else { return }
  let entry = tlbEntry(cpu, address)
  if _fastPath(entry.pointee.write_tag == (address &+ 15) & ~pageMask) {
    hostPointer(address, entry.pointee.host).storeBytes(
      of: cpu.vector(op.pointee.source), as: Quadwords.self)
    return next(cpu, op)
  }
  guard storeWholeSlowly(cpu, op, address) else { return }
  return next(cpu, op)
}

@inline(never)
private func storeWholeSlowly(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  permitsAlignment(cpu, op, address, 16)
    && storeBlock(cpu, op, address, from: cpu.vectorBytes(op.pointee.source), 16)
}

/// Stores 32 bytes.
@inline(__always)
func storeWide<A: Addressing>(_: A.Type, aligned: Bool, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, 32, write: true),
    !aligned || isAligned(cpu, op, address, 32)
  else { return }
  let entry = tlbEntry(cpu, address)
  if _fastPath(entry.pointee.write_tag == (address &+ 31) & ~pageMask) {
    let host = hostPointer(address, entry.pointee.host)
    host.storeBytes(of: cpu.vector(op.pointee.source), as: Quadwords.self)
    host.storeBytes(
      of: cpu.vector(upper(op.pointee.source)), toByteOffset: 16, as: Quadwords.self)
    return next(cpu, op)
  }
  guard storeWideSlowly(cpu, op, address) else { return }
  return next(cpu, op)
}

@inline(never)
private func storeWideSlowly(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  guard permitsAlignment(cpu, op, address, 16) else { return false }
  let halves: (Quadwords, Quadwords) = (
    cpu.vector(op.pointee.source), cpu.vector(upper(op.pointee.source))
  )
  return withUnsafeBytes(of: halves) {
    storeBlock(cpu, op, address, from: $0.baseAddress.unsafelyUnwrapped, 32)
  }
}

enum VectorStores {
  static let wideAligned = MemoryHandlers(
    { storeWide(Flat.self, aligned: true, $0, $1) },
    { storeWide(Based.self, aligned: true, $0, $1) },
    { storeWide(Segmented.self, aligned: true, $0, $1) })
  static let wide = MemoryHandlers(
    { storeWide(Flat.self, aligned: false, $0, $1) },
    { storeWide(Based.self, aligned: false, $0, $1) },
    { storeWide(Segmented.self, aligned: false, $0, $1) })
  static let doubleword = MemoryHandlers(
    { storeVector(Flat.self, UInt32.self, $0, $1) },
    { storeVector(Based.self, UInt32.self, $0, $1) },
    { storeVector(Segmented.self, UInt32.self, $0, $1) })
  static let quadword = MemoryHandlers(
    { storeVector(Flat.self, UInt64.self, $0, $1) },
    { storeVector(Based.self, UInt64.self, $0, $1) },
    { storeVector(Segmented.self, UInt64.self, $0, $1) })
  static let highHalf = MemoryHandlers(
    { storeVector(Flat.self, UInt64.self, high: true, $0, $1) },
    { storeVector(Based.self, UInt64.self, high: true, $0, $1) },
    { storeVector(Segmented.self, UInt64.self, high: true, $0, $1) })
  static let aligned = MemoryHandlers(
    { storeWhole(Flat.self, aligned: true, $0, $1) },
    { storeWhole(Based.self, aligned: true, $0, $1) },
    { storeWhole(Segmented.self, aligned: true, $0, $1) })
  static let unaligned = MemoryHandlers(
    { storeWhole(Flat.self, aligned: false, $0, $1) },
    { storeWhole(Based.self, aligned: false, $0, $1) },
    { storeWhole(Segmented.self, aligned: false, $0, $1) })

  /// The first `detail` bytes of the source, each where the top bit of the destination's is set.
  static let masked: Handler = { cpu, op in
    guard storeMasked(cpu, op) else { return }
    return next(cpu, op)
  }
}

@inline(never)
private func storeMasked(_ cpu: CPU, _ op: Op) -> Bool {
  let count = Int(op.pointee.detail)
  guard let address = Segmented.linear(cpu, op, count, write: true),
    permitsAlignment(cpu, op, address, 8), isWritable(cpu, op, address, count)
  else { return false }
  let bytes = cpu.vectorBytes(op.pointee.source)
  let mask = cpu.vectorBytes(op.pointee.destination)
  for index in 0..<count
  where mask.load(fromByteOffset: index, as: Int8.self) < 0 {
    let byte = bytes.load(fromByteOffset: index, as: UInt8.self)
    let place = (address &+ UInt64(index)) & cpu.pointee.address_mask
    guard store(cpu, op, place, byte) else { return false }
  }
  return true
}

// MARK: - Blocks of at most a page

/// Reads bytes, in steps of eight while there are that many; `false` once an exception was raised.
@inline(never)
func loadBlock(
  _ cpu: CPU, _ op: Op, _ linear: UInt64, into bytes: UnsafeMutableRawPointer, _ count: Int
) -> Bool {
  let entry = tlbEntry(cpu, linear)
  if entry.pointee.read_tag == (linear &+ UInt64(count &- 1)) & ~pageMask {
    bytes.copyMemory(from: hostPointer(linear, entry.pointee.host), byteCount: count)
    return true
  }
  cpu.pointee.rip = cpu.rip(of: op)
  var done = 0
  while done < count {
    let size = pieceSize(count &- done)
    let piece = (linear &+ UInt64(done)) & cpu.pointee.address_mask
    guard cpu.core({ core in core.load(piece, size) }) else { return raiseOnStack(cpu, op) }
    var value = cpu.pointee.slow_value.0
    (bytes + done).copyMemory(from: &value, byteCount: size)
    done &+= size
  }
  return true
}

/// Writes bytes; `false` once an exception was raised, and then nothing was written.
@inline(never)
func storeBlock(
  _ cpu: CPU, _ op: Op, _ linear: UInt64, from bytes: UnsafeRawPointer, _ count: Int
) -> Bool {
  let entry = tlbEntry(cpu, linear)
  if entry.pointee.write_tag == (linear &+ UInt64(count &- 1)) & ~pageMask {
    hostPointer(linear, entry.pointee.host).copyMemory(from: bytes, byteCount: count)
    return true
  }
  guard isWritable(cpu, op, linear, count) else { return false }
  var done = 0
  while done < count {
    let size = pieceSize(count &- done)
    let piece = (linear &+ UInt64(done)) & cpu.pointee.address_mask
    var value: UInt64 = 0
    withUnsafeMutableBytes(of: &value) {
      $0.baseAddress?.copyMemory(from: bytes + done, byteCount: size)
    }
    guard cpu.core({ core in core.store(piece, value, size) }) else { return false }
    done &+= size
  }
  return true
}

/// Whether all bytes may be written, on one page or two; if not, the exception is raised.
@inline(never)
func isWritable(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ count: Int) -> Bool {
  cpu.pointee.rip = cpu.rip(of: op)
  let lastPage = (linear &+ UInt64(count &- 1)) & cpu.pointee.address_mask & ~pageMask
  return cpu.core { core in
    core.translate(linear, write: true) != nil
      && (lastPage == linear & ~pageMask || core.translate(lastPage, write: true) != nil)
  } || raiseOnStack(cpu, op)
}

/// The largest access that the rest of a block allows.
private func pieceSize(_ rest: Int) -> Int { rest >= 8 ? 8 : rest >= 4 ? 4 : rest >= 2 ? 2 : 1 }
