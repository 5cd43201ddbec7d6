import Board
import Synchronization

/// MSI: up to 32 messages that differ in their low data bits, with an address of 64 bits and a mask for
/// each vector.
///
/// - SeeAlso: PCI 3.0 §6.8.1 "MSI Capability Structure"; PCIe 6.0 §7.7.1.
package final class MSICapability: Sendable {
  package let vectors: Int
  private let state = Mutex(State())

  /// - Parameter vectors: a power of two, up to 32.
  package init(vectors: Int = 1) {
    precondition(
      [1, 2, 4, 8, 16, 32].contains(vectors), "MSI has a power of two of vectors, up to 32")
    self.vectors = vectors
  }

  /// Sends a vector's message, now or as soon as it may go. From any thread. If the guest has granted
  /// fewer vectors than were asked for, several share one.
  package func signal(_ vector: Int) {
    state.withLock { $0.signal(vector) }
  }
}

// MARK: - What its function sees

extension MSICapability {
  /// The doubleword of the pending bits.
  static let pendingIndex = 5

  var all: UInt32 { vectors == 32 ? .max : (1 << UInt32(vectors)) - 1 }

  /// §6.8.1.1 to §6.8.1.8.
  var capability: PCICapability {
    let capable = UInt32(vectors.trailingZeroBitCount)
    let perVectorMasking: UInt32 = 1 << 24, address64: UInt32 = 1 << 23
    return PCICapability(
      id: 0x05, registers: [perVectorMasking | address64 | capable << 17, 0, 0, 0, 0, 0],
      writable: [0x0071_0000, ~3, .max, 0xffff, all, 0])
  }

  /// The function's registers or its place have changed.
  func steer(_ registers: ArraySlice<UInt32>, place: PCIPlace?, isMaster: Bool) {
    let first = registers.startIndex
    state.withLock { state in
      let control = registers[first] >> 16
      state.isEnabled = control & 1 == 1
      state.granted = 1 << min(Int(control >> 4 & 7), vectors.trailingZeroBitCount)
      state.message = MSI(
        address: UInt64(registers[first + 2]) << 32 | UInt64(registers[first + 1]),
        data: registers[first + 3])
      state.mask = registers[first + 4]
      state.isMaster = isMaster
      state.place = place
      state.sendPending()
    }
  }

  /// The vectors that wait.
  var pending: UInt32 {
    get { state.withLock { $0.pending } }
    set { state.withLock { $0.pending = newValue } }
  }
}

// MARK: - The chip itself

extension MSICapability {
  struct State: Sendable {
    var pending: UInt32 = 0
    // From the function.
    var isEnabled = false
    var granted = 1
    var message = MSI(address: 0, data: 0)
    var mask: UInt32 = 0
    var isMaster = false
    var place: PCIPlace?

    mutating func signal(_ vector: Int) {
      guard isEnabled, vector >= 0 else { return }
      let vector = vector & (granted - 1)
      if !send(vector) { pending |= 1 << UInt32(vector) }
    }

    /// Whether the message went.
    private func send(_ vector: Int) -> Bool {
      guard isEnabled, isMaster, mask >> UInt32(vector) & 1 == 0, let place else { return false }
      let low = UInt32(granted - 1)
      place.send(MSI(address: message.address, data: message.data & ~low | UInt32(vector)))
      return true
    }

    mutating func sendPending() {
      for vector in 0..<32 where pending >> UInt32(vector) & 1 == 1 && send(vector) {
        pending &= ~(1 << UInt32(vector))
      }
    }
  }
}
