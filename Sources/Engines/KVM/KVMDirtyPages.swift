import CKVM
import Execution
import Memory
import Synchronization

/// Which pages the guest wrote, as KVM says, and which the devices wrote, as `GuestMemory` says.
///
/// - SeeAlso: Linux, Documentation/virt/kvm/api.rst, §4.8 "KVM_GET_DIRTY_LOG", §8.29 "KVM_CAP_DIRTY_LOG_RING".
final class KVMDirtyPages: DirtyPageTracker, @unchecked Sendable {
  // Sendable although it holds raw pointers into processors' mappings: the mappings are kept, and the rings are
  // read under a lock.

  /// How many pages a processor may write before it must wait for its ring to be emptied.
  static let ringEntries = 4096

  private struct Ring: Sendable {
    let mapping: ProcessorMapping
    var next: UInt32 = 0
  }

  private let map: MemoryMap
  private let machine: KVMHandle
  private let usesRings: Bool
  private let clears: Bool
  private let rings = Mutex<[Ring]>([])
  private let isOn = Mutex(false)
  /// KVM keeps no record that could be trusted, although it should: all pages count as written.
  private let isBlind = Atomic<Bool>(false)

  init(
    _ map: MemoryMap, of machine: KVMHandle, usesRings: Bool, clears: Bool
  ) {
    self.map = map
    self.machine = machine
    self.usesRings = usesRings
    self.clears = clears && !usesRings
  }

  /// A processor was made, whose ring is from now on looked at.
  func add(_ mapping: ProcessorMapping) {
    rings.withLock { $0.append(Ring(mapping: mapping)) }
  }

  func start() {
    isOn.withLock { isOn in
      map.memory.dirtyPages.isEnabled = true
      do throws(EngineError) {
        try map.setLogging(true)
        isBlind.store(false, ordering: .relaxed)
      } catch {
        isBlind.store(true, ordering: .relaxed)
      }
      isOn = true
    }
  }

  func stop() {
    isOn.withLock { isOn in
      // A record that goes on costs time, and loses nothing.
      try? map.setLogging(false)
      map.memory.dirtyPages.isEnabled = false
      isOn = false
    }
  }

  func collect() -> [Int] {
    isOn.withLock { isOn in
      guard isOn else { return }
      if usesRings {
        emptyRings()
      } else {
        for slot in map.slots where !slot.isReadOnly {
          do throws(EngineError) { try readLog(of: slot) } catch { markAll(of: slot) }
        }
      }
      if isBlind.load(ordering: .relaxed) {
        for slot in map.slots where !slot.isReadOnly { markAll(of: slot) }
      }
    }
    return map.memory.dirtyPages.collect()
  }

  /// Notes what was written in a slot that is about to end. Rings were emptied before.
  func collect(from slot: MemoryMap.Slot) throws(EngineError) {
    guard map.memory.dirtyPages.isEnabled, !slot.isReadOnly, !usesRings else { return }
    try readLog(of: slot)
  }

  /// What KVM does not tell counts as written.
  private func markAll(of slot: MemoryMap.Slot) {
    for page in 0..<Int(slot.count / GuestMemory.pageSize) {
      map.memory.dirtyPages.mark(slot.page + page)
    }
  }

  // MARK: - Rings

  /// Notes what the rings hold, and lets KVM fill them again. From any thread.
  func emptyRings() {
    rings.withLock { rings in
      let slots = map.slots
      for index in rings.indices {
        guard let entries = rings[index].mapping.dirtyRing else { continue }
        for _ in 0..<Self.ringEntries {
          let entry = entries + Int(rings[index].next) % Self.ringEntries
          let flags = kvm_load_acquire(&entry.pointee.flags)
          guard flags & UInt32(KVM_DIRTY_ENTRY_IS_DIRTY) != 0 else { break }
          let number = entry.pointee.slot & 0xffff
          if let slot = slots.first(where: { $0.number == number }),
            let offset = Int(exactly: entry.pointee.offset)
          {
            map.memory.dirtyPages.mark(slot.page + offset)
          }
          kvm_store_release(&entry.pointee.flags, UInt32(KVM_DIRTY_ENTRY_RESET))
          rings[index].next &+= 1
        }
      }
      do throws(EngineError) {
        try machine.request(KVM_REQUEST_RESET_DIRTY_RINGS, 0, "use its dirty rings again")
      } catch {
        // It does not watch the pages again that it has told of.
        isBlind.store(true, ordering: .relaxed)
      }
    }
  }

  // MARK: - Bitmaps

  private func readLog(of slot: MemoryMap.Slot) throws(EngineError) {
    let pages = Int(slot.count / GuestMemory.pageSize)
    let words = (pages + 63) / 64
    let bits = UnsafeMutablePointer<UInt64>.allocate(capacity: words)
    defer { bits.deallocate() }
    bits.initialize(repeating: 0, count: words)
    var request = kvm_dirty_log()
    request.slot = slot.number
    request.dirty_bitmap = UnsafeMutableRawPointer(bits)
    try machine.request(KVM_REQUEST_GET_DIRTY_LOG, &request, "say which pages were written")
    var isClean = true
    for index in 0..<words where bits[index] != 0 {
      isClean = false
      var word = bits[index]
      while word != 0 {
        map.memory.dirtyPages.mark(slot.page + index * 64 + word.trailingZeroBitCount)
        word &= word - 1
      }
    }
    guard clears, !isClean else { return }
    var clear = kvm_clear_dirty_log()
    clear.slot = slot.number
    clear.num_pages = UInt32(pages)
    clear.first_page = 0
    clear.dirty_bitmap = UnsafeMutableRawPointer(bits)
    try machine.request(KVM_REQUEST_CLEAR_DIRTY_LOG, &clear, "watch written pages again")
  }
}
