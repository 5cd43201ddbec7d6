package import Board
import Synchronization

/// MSI-X: a table of messages in a BAR, each of which the guest may mask by itself.
///
/// A message that may not go now stays pending, and goes when the last of what holds it back is lifted:
/// its own mask, the function's, or shut bus mastering. While MSI-X is off, signals are dropped: the
/// function then has its interrupt pin.
///
/// The table lies at the start of the block, the pending bits in its second half.
///
/// - SeeAlso: PCI 3.0 §6.8.2 "MSI-X Capability and Table Structures"; PCIe 6.0 §7.7.2.
package final class MSIX {
  package let vectors: Int
  private let state: Mutex<State>

  /// - Parameter vectors: 1 to 2048.
  package init(vectors: Int) {
    precondition((1...2048).contains(vectors), "MSI-X has 1 to 2048 vectors")
    self.vectors = vectors
    state = Mutex(State(vectors: vectors))
  }

  /// How much of a BAR it takes: a power of two, at least a page.
  package var size: UInt64 {
    var half: UInt64 = 2048
    while half < UInt64(vectors) * 16 { half *= 2 }
    return 2 * half
  }

  var pendingOffset: UInt64 { size / 2 }

  /// A BAR with nothing else in it.
  package var bar: BAR { BAR(.memory(prefetchable: false), size: size, device: self) }

  /// For a BAR that others share. Its start must be a multiple of a page, so that nothing else is in its
  /// pages.
  package func block(at offset: UInt64) -> BAR.Block {
    BAR.Block(at: offset..<offset + size, device: self)
  }

  /// Whether the guest has turned it on.
  package var isEnabled: Bool { state.withLock { $0.isEnabled } }

  /// Sends a vector's message, now or as soon as it may go. From any thread. A vector that there is not
  /// is sent to nobody.
  package func signal(_ vector: Int) {
    state.withLock { $0.signal(vector) }
  }
}

// MARK: - What the guest sees

extension MSIX: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    try check(access)
    return state.withLock { state in
      let index = Int(access.offset / 4)
      let low = UInt64(state.read(index, pendingAt: Int(pendingOffset / 4)))
      guard access.width == .quadword else { return low }
      return low | UInt64(state.read(index + 1, pendingAt: Int(pendingOffset / 4))) << 32
    }
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    try check(access)
    state.withLock { state in
      let index = Int(access.offset / 4)
      state.write(UInt32(truncatingIfNeeded: value), index)
      if access.width == .quadword {
        state.write(UInt32(truncatingIfNeeded: value >> 32), index + 1)
      }
    }
  }

  /// §6.8.2: accesses are aligned doublewords or quadwords.
  private func check(_ access: Access) throws(IOError) {
    guard access.width == .doubleword || access.width == .quadword else {
      throw .unsupportedWidth
    }
    guard access.offset % access.width.bytes == 0 else { throw .misaligned }
    guard access.offset < size else { throw .noSuchRegister }
  }
}

// MARK: - What its function sees

extension MSIX {
  /// Table offset and BIR, and those of the pending bits; §6.8.2.3 to §6.8.2.5.
  func capability(bar: Int, offset: UInt64) -> PCICapability {
    let table = UInt32(truncatingIfNeeded: offset)
    let pending = UInt32(truncatingIfNeeded: offset + pendingOffset)
    return PCICapability(
      id: 0x11,
      registers: [UInt32(vectors - 1) << 16, table | UInt32(bar), pending | UInt32(bar)],
      writable: [0xc000_0000, 0, 0])
  }

  /// The function's registers or its place have changed. `control` is the first register of the
  /// capability.
  func steer(_ control: UInt32, place: PCIPlace?, isMaster: Bool) {
    state.withLock { state in
      state.isEnabled = control >> 31 == 1
      state.isMasked = control >> 30 & 1 == 1
      state.isMaster = isMaster
      state.place = place
      state.sendPending()
    }
  }

  package struct Saved: Codable, Sendable {
    /// Four doublewords a vector.
    var table: [UInt32]
    var pending: [UInt64]
  }

  func reset() {
    state.withLock { state in
      state.table = State.initialTable(vectors)
      state.pending = .init(repeating: 0, count: state.pending.count)
    }
  }

  func save() -> Saved { state.withLock { Saved(table: $0.table, pending: $0.pending) } }

  /// Whether a saved state is one of this table.
  func accepts(_ saved: Saved) -> Bool {
    let tail = vectors % 64 == 0 ? UInt64.max : (1 << UInt64(vectors % 64)) - 1
    return saved.table.count == vectors * 4 && saved.pending.count == (vectors + 63) / 64
      && saved.pending[saved.pending.count - 1] & ~tail == 0
      && saved.table.indices.allSatisfy { saved.table[$0] & ~State.writable($0) == 0 }
  }

  /// Only what is accepted.
  func restore(_ saved: Saved) {
    state.withLock { state in
      state.table = saved.table
      state.pending = saved.pending
    }
  }

  /// How many vectors wait, and how many are masked.
  var summary: (pending: Int, masked: Int) {
    state.withLock { state in
      (
        state.pending.reduce(0) { $0 + $1.nonzeroBitCount },
        (0..<vectors).count { state.table[$0 * 4 + 3] & 1 == 1 }
      )
    }
  }
}

// MARK: - The chip itself

extension MSIX {
  struct State: Sendable {
    /// Message address, upper address, data and vector control of each vector: §6.8.2.6 to §6.8.2.9.
    var table: [UInt32]
    var pending: [UInt64]
    // From the function.
    var isEnabled = false
    var isMasked = false
    var isMaster = false
    var place: PCIPlace?

    init(vectors: Int) {
      table = Self.initialTable(vectors)
      pending = .init(repeating: 0, count: (vectors + 63) / 64)
    }

    /// All masked.
    static func initialTable(_ vectors: Int) -> [UInt32] {
      (0..<vectors * 4).map { $0 % 4 == 3 ? 1 : 0 }
    }

    /// The bits of the table that the guest may change.
    static func writable(_ index: Int) -> UInt32 {
      switch index % 4 {
      case 0: ~3
      case 3: 1
      default: .max
      }
    }

    mutating func signal(_ vector: Int) {
      guard isEnabled, vector >= 0, vector * 4 < table.count else { return }
      if !send(vector) { pending[vector / 64] |= 1 << UInt64(vector % 64) }
    }

    /// Whether the message went.
    private func send(_ vector: Int) -> Bool {
      let entry = vector * 4
      guard isEnabled, !isMasked, isMaster, table[entry + 3] & 1 == 0, let place else {
        return false
      }
      let address = UInt64(table[entry + 1]) << 32 | UInt64(table[entry])
      place.send(MSI(address: address, data: table[entry + 2]))
      return true
    }

    mutating func sendPending() {
      guard isEnabled, !isMasked, isMaster else { return }
      for word in pending.indices {
        var rest = pending[word]
        while rest != 0 {
          let bit = rest.trailingZeroBitCount
          rest &= rest &- 1
          if send(word * 64 + bit) { pending[word] &= ~(1 << UInt64(bit)) }
        }
      }
    }

    func read(_ index: Int, pendingAt start: Int) -> UInt32 {
      if index < table.count { return table[index] }
      let word = (index - start) / 2
      guard index >= start, word < pending.count else { return 0 }
      return UInt32(truncatingIfNeeded: pending[word] >> ((index - start) % 2 == 0 ? 0 : 32))
    }

    /// The pending bits are read-only.
    mutating func write(_ value: UInt32, _ index: Int) {
      guard index < table.count else { return }
      table[index] = value & Self.writable(index)
      guard index % 4 == 3 else { return }
      let vector = index / 4
      let bit: UInt64 = 1 << UInt64(vector % 64)
      if pending[vector / 64] & bit != 0, send(vector) { pending[vector / 64] &= ~bit }
    }
  }
}
