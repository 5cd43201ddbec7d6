import CKVM
import Execution
import Memory
import Synchronization

/// Guest memory as KVM knows it: a slot for every run of pages with one kind of access.
final class MemoryMap: @unchecked Sendable {
  // Sendable although `memory` holds raw pointers: they live as long as it does, and this keeps it.

  /// A run of pages that KVM maps.
  struct Slot: Sendable, Equatable {
    let number: UInt32
    let start: UInt64
    let count: UInt64
    let isReadOnly: Bool
    /// The first page's index in `GuestMemory.dirtyPages`.
    let page: Int
  }

  private struct State {
    var slots: [Slot] = []
    var freeNumbers: [UInt32] = []
    var nextNumber: UInt32 = 0
    var logsDirtyPages = false
    /// Where access is less than full: pages, by index.
    var restricted: [Int: MemoryAccess] = [:]
  }

  let memory: GuestMemory
  private let machine: KVMHandle
  private let slotLimit: Int
  private let state = Mutex(State())

  init(_ memory: GuestMemory, of machine: KVMHandle, host: KVMHost) throws(EngineError) {
    self.memory = memory
    self.machine = machine
    slotLimit = max(host.capability(KVM_CAP_NR_MEMSLOTS), 32)
    try state.withLock { (state) throws(EngineError) in
      try install(wantedRuns(state), &state)
    }
  }

  var slots: [Slot] { state.withLock { $0.slots } }

  // MARK: - Changing it

  /// Changes what the processors may do with pages; all are out of the guest while this runs.
  ///
  /// - Parameter willRemove: called with slots that are about to end, to collect what was written in them.
  func permit(
    _ access: MemoryAccess, _ range: GPARange, willRemove: (Slot) throws(EngineError) -> Void
  ) throws(EngineError) {
    let pages = try memory.pages(toPermit: range)
    try state.withLock { (state) throws(EngineError) in
      let before = state.restricted
      for page in pages { state.restricted[page] = access == .full ? nil : access }
      let wanted = wantedRuns(state)
      guard wanted.count <= slotLimit else {
        state.restricted = before
        throw EngineError("KVM maps memory in at most \(slotLimit) pieces")
      }
      let former = state.slots
      do throws(EngineError) {
        for slot in former where !wanted.contains(where: { $0.isSame(as: slot) }) {
          try willRemove(slot)
          try remove(slot, &state)
        }
        try install(
          wanted.filter { run in !state.slots.contains { run.isSame(as: $0) } }, &state)
      } catch {
        state.restricted = before
        try putBack(former, &state, after: error)
        throw error
      }
    }
  }

  private func remove(_ slot: Slot, _ state: inout State) throws(EngineError) {
    try set(slot, size: 0, logs: false)
    state.slots.removeAll { $0 == slot }
    state.freeNumbers.append(slot.number)
  }

  /// Maps what was mapped before a change that failed half-way.
  private func putBack(
    _ former: [Slot], _ state: inout State, after failure: EngineError
  ) throws(EngineError) {
    do throws(EngineError) {
      for slot in state.slots where !former.contains(slot) { try remove(slot, &state) }
      for slot in former where !state.slots.contains(slot) {
        try set(slot, size: slot.count, logs: state.logsDirtyPages && !slot.isReadOnly)
        state.slots.append(slot)
        state.freeNumbers.removeAll { $0 == slot.number }
      }
    } catch {
      throw EngineError("\(failure); what was there before cannot be put back: \(error)")
    }
  }

  /// Switches KVM's record of written pages on or off.
  func setLogging(_ logs: Bool) throws(EngineError) {
    try state.withLock { (state) throws(EngineError) in
      guard state.logsDirtyPages != logs else { return }
      for slot in state.slots where !slot.isReadOnly { try set(slot, size: slot.count, logs: logs) }
      state.logsDirtyPages = logs
    }
  }

  // MARK: - From pages to slots

  /// A run of pages as it should be mapped.
  private struct Run {
    let start: UInt64
    var count: UInt64
    let isReadOnly: Bool
    let page: Int

    func isSame(as slot: Slot) -> Bool {
      start == slot.start && count == slot.count && isReadOnly == slot.isReadOnly
    }
  }

  private func wantedRuns(_ state: State) -> [Run] {
    var runs: [Run] = []
    var firstPage = 0
    for region in memory.regions {
      let pages = Int(region.count / GuestMemory.pageSize)
      let exceptions = state.restricted.keys.filter { firstPage..<firstPage + pages ~= $0 }.sorted()
      var next = 0
      func add(_ count: Int, _ access: MemoryAccess) {
        defer { next += count }
        guard count > 0, access != .none else { return }
        let isReadOnly = access == .read || region.kind == .rom
        let start = region.start.rawValue + UInt64(next) * GuestMemory.pageSize
        let size = UInt64(count) * GuestMemory.pageSize
        if let last = runs.last, last.start + last.count == start, last.isReadOnly == isReadOnly,
          last.page + Int(last.count / GuestMemory.pageSize) == firstPage + next, next > 0
        {
          runs[runs.count - 1].count += size
        } else {
          runs.append(
            Run(start: start, count: size, isReadOnly: isReadOnly, page: firstPage + next))
        }
      }
      for page in exceptions {
        add(page - firstPage - next, .full)
        add(1, state.restricted[page] ?? .full)
      }
      add(pages - next, .full)
      firstPage += pages
    }
    return runs
  }

  private func install(_ runs: [Run], _ state: inout State) throws(EngineError) {
    for run in runs {
      let number: UInt32
      if let free = state.freeNumbers.popLast() {
        number = free
      } else {
        number = state.nextNumber
        state.nextNumber += 1
      }
      let slot = Slot(
        number: number, start: run.start, count: run.count, isReadOnly: run.isReadOnly,
        page: run.page)
      try set(slot, size: slot.count, logs: state.logsDirtyPages && !slot.isReadOnly)
      state.slots.append(slot)
    }
  }

  private func set(_ slot: Slot, size: UInt64, logs: Bool) throws(EngineError) {
    guard let host = memory.hostPage(holding: GPA(slot.start)) else {
      throw EngineError("there is no memory at 0x\(String(slot.start, radix: 16))")
    }
    var region = kvm_userspace_memory_region()
    region.slot = slot.number
    region.flags =
      (slot.isReadOnly ? UInt32(KVM_MEM_READONLY) : 0)
      | (logs ? UInt32(KVM_MEM_LOG_DIRTY_PAGES) : 0)
    region.guest_phys_addr = slot.start
    region.memory_size = size
    region.userspace_addr = UInt64(UInt(bitPattern: host.base))
    try machine.request(
      KVM_REQUEST_SET_USER_MEMORY_REGION, &region,
      "map memory at 0x\(String(slot.start, radix: 16))")
  }
}
