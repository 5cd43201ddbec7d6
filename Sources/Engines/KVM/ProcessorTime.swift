import ArchitectureX86
import CKVM
import Execution
import Work

/// A processor's time-stamp counter, kept in step with the guest's time.
///
/// - SeeAlso: Linux, Documentation/virt/kvm/devices/vcpu.rst, §4 "VCPU_TSC_CTRL".
struct ProcessorTime {
  private let handle: KVMHandle
  private let keeper: TimeKeeper
  /// Whether KVM lets the offset to the host's counter be set. Otherwise the counter itself is set, and
  /// KVM brings processors together that are set within a second.
  private let hasOffset: Bool
  /// The counter at guest time zero: how far it is ahead of the guest's time in ticks, modulo 2⁶⁴. `nil` while
  /// KVM's processor has it.
  private var ahead: UInt64?
  /// For which start of the clock KVM's counter is right.
  private var starts: UInt64?
  /// How far the counter was ahead when the processor left the guest, where KVM lets no offset be set: there it runs on
  /// while the guest's time stands.
  private var aheadAtLeaving: UInt64?
  /// A deadline that is armed when time passes: KVM would measure it with a counter that is not right yet.
  private var deadline: UInt64?

  init(
    _ handle: KVMHandle, _ keeper: TimeKeeper, _ model: X86.CPUModel
  ) throws(EngineError) {
    self.handle = handle
    self.keeper = keeper
    let host = UInt64(
      try handle.request(KVM_REQUEST_GET_TSC_KHZ, 0, "say how fast its time-stamp counter is"))
    let wanted = (model.tscFrequency + 500) / 1000
    // As far apart as crystals are: KVM itself takes 250 millionths for equal.
    let isSame = wanted.distance(to: host).magnitude * 4000 <= host
    if !isSame {
      let result = kvm_request(
        handle.number, UInt(KVM_REQUEST_SET_TSC_KHZ.rawValue), UInt(wanted))
      guard result == 0 else {
        throw EngineError(
          "the guest's time-stamp counter makes \(wanted / 1000) MHz, this host's \(host / 1000) MHz, "
            + "and its KVM cannot scale it")
      }
    }
    var attribute = Self.offsetAttribute()
    hasOffset =
      isSame
      && kvm_request_pointer(
        handle.number, UInt(KVM_REQUEST_HAS_DEVICE_ATTR.rawValue), &attribute) == 0
  }

  // MARK: - From and to a saved state

  /// The counter at the guest's present time, while that stands.
  mutating func counter() throws(EngineError) -> UInt64 {
    keeper.guestTicks &+ (try takeAhead())
  }

  /// The counter while the guest's time passes.
  func runningCounter() throws(EngineError) -> UInt64 {
    try hasOffset
      ? kvm_host_tsc() &+ offset() : handle.readMSR(X86.MSR.timeStampCounter) ?? 0
  }

  /// Sets the counter as of the guest's present time.
  mutating func setCounter(_ value: UInt64) { set(ahead: value &- keeper.guestTicks) }

  private mutating func set(ahead: UInt64) {
    self.ahead = ahead
    starts = nil
  }

  mutating func setDeadline(_ value: UInt64) { deadline = value }

  /// Takes back the deadline that KVM knows, while its timer still waits for one.
  func disarm() throws(EngineError) { try handle.writeMSR(X86.MSR.tscDeadline, 0) }

  func armedDeadline() throws(EngineError) -> UInt64 {
    if let deadline { return deadline }
    return try handle.readMSR(X86.MSR.tscDeadline) ?? 0
  }

  private mutating func takeAhead() throws(EngineError) -> UInt64 {
    if let ahead { return ahead }
    let value: UInt64
    if hasOffset {
      value = try offset() &+ keeper.lead(atEndOf: starts ?? keeper.clock.starts)
    } else if let aheadAtLeaving {
      value = aheadAtLeaving
    } else {
      value = try presentAhead()
    }
    ahead = value
    starts = nil
    return value
  }

  /// How far KVM's counter is ahead of the guest's time now.
  private func presentAhead() throws(EngineError) -> UInt64 {
    try (handle.readMSR(X86.MSR.timeStampCounter) ?? 0) &- keeper.guestTicks
  }

  // MARK: - After the guest has run

  /// The processor has left the guest while time still passes.
  mutating func noteLeaving() throws(EngineError) {
    keeper.noteLeaving()
    if !hasOffset { aheadAtLeaving = try presentAhead() }
  }

  // MARK: - Before the guest runs

  /// Brings KVM's counter in line with the guest's time, if that has stood still or changed.
  mutating func follow() throws(EngineError) {
    let current = keeper.clock.starts
    defer { aheadAtLeaving = nil }
    guard starts != current else { return }
    // A timer that has not rung yet was measured with the old counter.
    let due = try armedDeadline()
    let ahead = try takeAhead()
    if hasOffset {
      try set(offset: ahead &- keeper.lead(since: current))
    } else {
      try handle.writeMSR(X86.MSR.timeStampCounter, keeper.guestTicks &+ ahead)
    }
    starts = current
    self.ahead = nil
    if due != 0 { try handle.writeMSR(X86.MSR.tscDeadline, due) }
    deadline = nil
  }

  // MARK: - The offset

  private static func offsetAttribute() -> kvm_device_attr {
    var attribute = kvm_device_attr()
    attribute.group = UInt32(KVM_VCPU_TSC_CTRL)
    attribute.attr = UInt64(KVM_VCPU_TSC_OFFSET)
    return attribute
  }

  private func offset() throws(EngineError) -> UInt64 {
    var value: UInt64 = 0
    try access(KVM_REQUEST_GET_DEVICE_ATTR, &value)
    return value
  }

  private func set(offset: UInt64) throws(EngineError) {
    var value = offset
    try access(KVM_REQUEST_SET_DEVICE_ATTR, &value)
  }

  private func access(_ request: kvm_requests, _ value: inout UInt64) throws(EngineError) {
    try withUnsafeMutablePointer(to: &value) { (pointer) throws(EngineError) in
      var attribute = Self.offsetAttribute()
      attribute.addr = UInt64(UInt(bitPattern: pointer))
      _ = try handle.request(request, &attribute, "set its time-stamp counter's offset")
    }
  }
}

extension KVMHandle {
  /// A model-specific register of a processor; `nil`: KVM has none of that number.
  func readMSR(_ index: UInt32) throws(EngineError) -> UInt64? {
    var list = MSRList(index, 0)
    let count = try request(KVM_REQUEST_GET_MSRS, &list, "show a model-specific register")
    return count == 1 ? list.entry.data : nil
  }

  /// Those of the registers that KVM has, in order, in as few requests as can be.
  func readMSRs(_ indices: [UInt32]) throws(EngineError) -> [X86.MSRValue] {
    let header = MemoryLayout<kvm_msrs>.size
    let stride = MemoryLayout<kvm_msr_entry>.stride
    let list = UnsafeMutableRawPointer.allocate(
      byteCount: header + indices.count * stride, alignment: 8)
    defer { list.deallocate() }
    var values: [X86.MSRValue] = []
    var rest = indices[...]
    while !rest.isEmpty {
      list.storeBytes(of: UInt32(rest.count), as: UInt32.self)
      list.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
      for (position, index) in rest.enumerated() {
        var entry = kvm_msr_entry()
        entry.index = index
        list.storeBytes(
          of: entry, toByteOffset: header + position * stride, as: kvm_msr_entry.self)
      }
      // KVM stops at the first that it has not got.
      let count = Int(
        try request(KVM_REQUEST_GET_MSRS, at: list, "show model-specific registers"))
      for (position, index) in rest.prefix(count).enumerated() {
        let entry = list.load(
          fromByteOffset: header + position * stride, as: kvm_msr_entry.self)
        values.append(X86.MSRValue(index: index, value: entry.data))
      }
      rest = rest.dropFirst(count + 1)
    }
    return values
  }

  /// Sets one; answers whether KVM took it.
  @discardableResult
  func writeMSR(_ index: UInt32, _ value: UInt64) throws(EngineError) -> Bool {
    var list = MSRList(index, value)
    return try request(KVM_REQUEST_SET_MSRS, &list, "set a model-specific register") == 1
  }

  /// `kvm_msrs` with one entry.
  private struct MSRList {
    var count: UInt32 = 1
    var padding: UInt32 = 0
    var entry = kvm_msr_entry()

    init(_ index: UInt32, _ value: UInt64) {
      entry.index = index
      entry.data = value
    }
  }
}
