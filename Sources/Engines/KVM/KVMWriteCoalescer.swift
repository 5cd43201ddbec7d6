import Board
import CKVM
import Execution
import Glibc
import Synchronization

/// Writes that the kernel gathers in a ring, to be carried to their devices when a processor leaves the guest.
///
/// - SeeAlso: Linux, Documentation/virt/kvm/api.rst, §4.116 "KVM_(UN)REGISTER_COALESCED_MMIO".
final class KVMWriteCoalescer: WriteCoalescer, @unchecked Sendable {
  // Sendable although it holds a raw pointer: the ring is emptied under a lock.
  private let machine: KVMHandle
  private let hasPortWrites: Bool
  let page: Int
  private let zones = Atomic<Int>(0)
  private let emptying = Mutex(())

  /// `nil`: this KVM gathers nothing.
  init?(_ machine: KVMHandle, host: KVMHost) {
    page = host.capability(KVM_CAP_COALESCED_MMIO)
    guard page > 0 else { return nil }
    hasPortWrites = host.capability(KVM_CAP_COALESCED_PIO) != 0
    self.machine = machine
  }

  func add(_ range: Range<UInt64>, in space: AddressSpace) throws(EngineError) {
    try request(KVM_REQUEST_REGISTER_COALESCED_MMIO, range, space, "gather writes")
    zones.add(1, ordering: .relaxed)
  }

  func remove(_ range: Range<UInt64>, in space: AddressSpace) throws(EngineError) {
    try request(KVM_REQUEST_UNREGISTER_COALESCED_MMIO, range, space, "stop gathering writes")
  }

  private func request(
    _ request: kvm_requests, _ range: Range<UInt64>, _ space: AddressSpace, _ attempt: String
  ) throws(EngineError) {
    guard space == .registers || hasPortWrites, let size = UInt32(exactly: range.count) else {
      throw EngineError("KVM cannot \(attempt) at 0x\(String(range.lowerBound, radix: 16))")
    }
    var zone = kvm_coalesced_mmio_zone()
    zone.addr = range.lowerBound
    zone.size = size
    zone.pio = space == .ports ? 1 : 0
    try machine.request(request, &zone, attempt)
  }

  /// Whether anything was ever asked to be gathered.
  @inline(__always)
  var isInUse: Bool { zones.load(ordering: .relaxed) > 0 }

  /// Carries what was gathered to the buses, in order.
  func empty(
    _ ring: UnsafeMutablePointer<kvm_coalesced_mmio_ring>, into buses: inout Buses
  ) {
    guard kvm_load_acquire(&ring.pointee.first) != kvm_load_acquire(&ring.pointee.last)
    else { return }
    let capacity = kvm_coalesced_capacity(UInt32(getpagesize()))
    emptying.withLock { _ in
      // What is gathered meanwhile is for the next time.
      let last = kvm_load_acquire(&ring.pointee.last)
      var first = ring.pointee.first
      while first != last, first < capacity {
        let entry = kvm_coalesced_entries(ring)[Int(first)]
        let value = withUnsafeBytes(of: entry.data) { $0.loadUnaligned(as: UInt64.self) }
        buses.write(
          value, count: entry.len, at: entry.phys_addr, in: entry.pio != 0 ? .ports : .registers)
        first = (first + 1) % capacity
        kvm_store_release(&ring.pointee.first, first)
      }
    }
  }
}

extension Buses {
  /// A write of one to eight bytes, byte by byte if their number is none that a bus knows.
  mutating func write(_ value: UInt64, count: UInt32, at address: UInt64, in space: AddressSpace) {
    guard let width = AccessWidth(rawValue: UInt8(truncatingIfNeeded: count)) else {
      for index in 0..<UInt64(min(count, 8)) {
        write(value >> (8 * index), count: 1, at: address &+ index, in: space)
      }
      return
    }
    switch space {
    case .ports: ports.write(value & width.mask, address, width)
    case .registers: registers.write(value & width.mask, address, width)
    }
  }

  /// A read of one to eight bytes, likewise.
  mutating func read(count: UInt32, at address: UInt64, in space: AddressSpace) -> UInt64 {
    guard let width = AccessWidth(rawValue: UInt8(truncatingIfNeeded: count)) else {
      var value: UInt64 = 0
      for index in 0..<UInt64(min(count, 8)) {
        value |= read(count: 1, at: address &+ index, in: space) << (8 * index)
      }
      return value
    }
    switch space {
    case .ports: return ports.read(address, width)
    case .registers: return registers.read(address, width)
    }
  }
}
