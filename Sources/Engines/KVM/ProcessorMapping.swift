import CKVM
import Execution
import Glibc

/// The pages that a processor shares with KVM.
final class ProcessorMapping: @unchecked Sendable {
  // Sendable although it holds raw pointers: what is shared beyond the processor's thread is read and written
  // atomically, through the functions of CKVM.

  /// Why KVM_RUN returned, and what it wants answered.
  let exit: UnsafeMutablePointer<kvm_run>
  private let size: Int
  private let ring: (entries: UnsafeMutablePointer<kvm_dirty_gfn>, size: Int)?

  /// - Parameters:
  ///   - size: KVM_GET_VCPU_MMAP_SIZE.
  ///   - dirtyRing: how many entries the processor's dirty ring has; `nil`: it has none.
  init(_ processor: KVMHandle, size: Int, dirtyRing: Int?) throws(EngineError) {
    let handle = processor.number
    guard let base = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0),
      base != MAP_FAILED
    else {
      throw EngineError("KVM's processor cannot be mapped: \(String(cString: strerror(errno)))")
    }
    exit = base.bindMemory(to: kvm_run.self, capacity: 1)
    self.size = size
    guard let dirtyRing else {
      ring = nil
      return
    }
    let ringSize = dirtyRing * MemoryLayout<kvm_dirty_gfn>.stride
    let offset = Int(KVM_DIRTY_RING_PAGE) * Int(getpagesize())
    guard
      let entries = mmap(nil, ringSize, PROT_READ | PROT_WRITE, MAP_SHARED, handle, offset),
      entries != MAP_FAILED
    else {
      munmap(base, size)
      throw EngineError("KVM's dirty ring cannot be mapped: \(String(cString: strerror(errno)))")
    }
    ring = (entries.bindMemory(to: kvm_dirty_gfn.self, capacity: dirtyRing), ringSize)
  }

  deinit {
    munmap(exit, size)
    if let ring { munmap(ring.entries, ring.size) }
  }

  var dirtyRing: UnsafeMutablePointer<kvm_dirty_gfn>? { ring?.entries }

  /// The machine's ring of coalesced writes; `nil` if KVM has none.
  func coalescedRing(page: Int) -> UnsafeMutablePointer<kvm_coalesced_mmio_ring>? {
    let offset = page * Int(getpagesize())
    guard page > 0, offset + Int(getpagesize()) <= size else { return nil }
    return (UnsafeMutableRawPointer(exit) + offset).assumingMemoryBound(
      to: kvm_coalesced_mmio_ring.self)
  }
}
