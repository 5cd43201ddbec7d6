import Synchronization

// MARK: - What the bus sees

extension ConfigurationSpace: PCIFunction {
  package func readConfiguration(_ register: UInt16) -> UInt32 {
    let index = Int(register / 4)
    // Where there are no registers it reads as zero: PCIe 6.0 §7.6.1.
    guard index < layout.count else { return 0 }
    if let (live, place) = liveCapability(index) {
      return live.read(index - place.lowerBound, state.withLock { Array($0.registers[place]) })
    }
    return state.withLock { state in
      if let msi, let place = layout.place(of: 0x05),
        index == place.lowerBound + MSICapability.pendingIndex
      {
        return msi.pending
      }
      return state.read(index, sendsMessages: sendsMessages(state))
    }
  }

  package func writeConfiguration(_ value: UInt32, mask: UInt32, _ register: UInt16) {
    let index = Int(register / 4)
    guard index < layout.count else { return }
    var old: UInt32 = 0
    with { state in
      old = state.registers[index]
      state.write(value, mask: mask, index, layout)
    }
    if initiatesReset(value & mask, index) { functionLevelReset() }
    if let (live, place) = liveCapability(index) {
      let registers = state.withLock { Array($0.registers[place]) }
      live.written(index - place.lowerBound, mask: mask, old: old, registers)
    }
  }

  private func initiatesReset(_ value: UInt32, _ index: Int) -> Bool {
    guard express?.kind == .endpoint, value & PCIExpress.initiateReset != 0 else { return false }
    return layout.place(of: UInt16(PCIExpress.id)).map {
      index == $0.lowerBound + PCIExpress.Register.device
    } ?? false
  }

  /// PCIe 6.0 §6.6.2 "Function Level Reset (FLR)": all but the link and the size of payloads.
  private func functionLevelReset() {
    with { state in
      let old = state.registers
      clear(&state)
      guard let express = layout.place(of: UInt16(PCIExpress.id))?.lowerBound else { return }
      for (register, kept) in [
        (PCIExpress.Register.device, PCIExpress.maximumPayload),
        (PCIExpress.Register.link, PCIExpress.linkControl),
        (PCIExpress.Register.link2, PCIExpress.linkControl),
      ] {
        let index = express + register
        state.registers[index] = state.registers[index] & ~kept | old[index] & kept
      }
    }
    state.withLock { $0.user }?.functionReset()
  }

  func clear(_ state: inout State) {
    state.registers = layout.initial
    msix?.reset()
    msi?.pending = 0
  }

  private func liveCapability(_ index: Int) -> (any LiveCapability, Range<Int>)? {
    for capability in layout.capabilities where capability.registers.contains(index) {
      return capability.live.map { ($0, capability.registers) }
    }
    return nil
  }

  package func plugged(at place: PCIPlace?) {
    state.withLock { state in
      state.place?.drive(false)
      state.place = place
      sync(&state)
    }
  }

  package func setUpstream(isOpen: Bool) {
    state.withLock { state in
      guard state.isUpstreamOpen != isOpen else { return }
      state.isUpstreamOpen = isOpen
      sync(&state)
    }
  }

  package var decodes: [PCIDecode] {
    state.withLock { state in
      if state.isAsleep(layout) { return [] }
      return layout.bars.compactMap { slot in
        state.range(of: slot).map { PCIDecode(bar: slot.bar, range: $0) }
      }
    }
  }

  package func busReset() {
    reset()
    state.withLock { $0.user }?.functionReset()
  }
}
