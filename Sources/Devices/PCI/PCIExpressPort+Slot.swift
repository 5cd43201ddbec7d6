import Synchronization

// MARK: - What is at the far end of the link

extension PCIExpressPort {
  /// Puts a function at the far end, before the machine starts: all functions of one device.
  package func plug(_ function: any PCIFunction, function number: UInt8 = 0) {
    precondition(express.kind != .switchUpstream, "behind an upstream port are downstream ports")
    state.withLock { state in
      state.contents.append((number, function))
      secondary.plug(function, device: 0, function: number)
      resetSlot(isPresent: true)
    }
  }

  /// Puts functions into the slot while the machine runs, and presses its button. Answers `false` if it is
  /// taken, or not for hot-plug. The guest then gives it power.
  package func insert(_ functions: [any PCIFunction]) -> Bool {
    state.withLock { state in
      guard express.slot?.isHotPluggable == true, state.contents.isEmpty, functions.count <= 8
      else { return false }
      state.contents = functions.enumerated().map { (UInt8($0.offset), $0.element) }
      let isOn = slot.isOn
      change { $0.setPresent(true) }
      if isOn { setPower(true, state) }
      raise(
        isOn
          ? [.presenceChanged, .linkChanged]
          : [.presenceChanged, .attentionButtonPressed], &state)
      return true
    }
  }

  /// Asks the guest for what is in the slot, by its button; the observer hears when it is out. Answers
  /// `false` if the slot is empty, or not for hot-plug. Asked again, it presses the button again: a guest
  /// takes that within its time to think as a change of mind.
  package func requestRemoval() -> Bool {
    let (isAccepted, emptied) = state.withLock { state -> (Bool, (any SlotObserver)?) in
      guard express.slot?.isHotPluggable == true, !state.contents.isEmpty else {
        return (false, nil)
      }
      state.isLeaving = true
      // Without power nothing needs to be asked.
      guard slot.isOn else { return (true, empty(&state)) }
      raise([.attentionButtonPressed], &state)
      return (true, nil)
    }
    emptied?.slotEmptied(self)
    return isAccepted
  }

  /// Pulls out what is in the slot, without asking. Answers `false` if it is not for hot-plug.
  package func remove() -> Bool {
    state.withLock { state in
      guard express.slot?.isHotPluggable == true else { return false }
      if !state.contents.isEmpty { _ = empty(&state) }
      return true
    }
  }

  package var isOccupied: Bool { state.withLock { !$0.contents.isEmpty } }

  func empty(_ state: inout State) -> (any SlotObserver)? {
    let hadPower = slot.isOn
    if hadPower { setPower(false, state) }
    state.contents = []
    let wasLeaving = state.isLeaving
    state.isLeaving = false
    change { $0.setPresent(false) }
    raise(hadPower ? [.presenceChanged, .linkChanged] : [.presenceChanged], &state)
    return wasLeaving ? state.observer : nil
  }

  /// Lets the functions appear, as after power-on, or disappear.
  func setPower(_ isOn: Bool, _ state: State) {
    if isOn {
      for (number, function) in state.contents {
        function.busReset()
        secondary.plug(function, device: 0, function: number)
      }
    } else {
      secondary.unplug(device: 0)
    }
    setLink(isActive: isOn && !state.contents.isEmpty)
  }
}

// MARK: - The slot's registers

extension PCIExpressPort {
  enum Event { case attentionButtonPressed, presenceChanged, commandCompleted, linkChanged }

  var slotIndex: Int { base + PCIExpress.Register.slot }
  var slot: SlotRegisters { SlotRegisters(value: configuration[slotIndex]) }

  func change(_ change: (inout SlotRegisters) -> Void) {
    configuration.with { state in
      var slot = SlotRegisters(value: state.registers[slotIndex])
      change(&slot)
      state.registers[slotIndex] = slot.value
    }
  }

  func setLink(isActive: Bool) {
    let index = base + PCIExpress.Register.link
    configuration.with { state in
      state.registers[index] =
        state.registers[index] & ~PCIExpress.linkActive | (isActive ? PCIExpress.linkActive : 0)
    }
  }

  func raise(_ events: [Event], _ state: inout State) {
    change { slot in
      for event in events {
        switch event {
        case .attentionButtonPressed: slot.raise(SlotRegisters.attentionButtonPressed)
        case .presenceChanged: slot.raise(SlotRegisters.presenceChanged)
        case .commandCompleted: slot.raise(SlotRegisters.commandCompleted)
        case .linkChanged: slot.raise(SlotRegisters.linkChanged)
        }
      }
    }
    signal(&state)
  }

  /// The pin is as the events are; a message goes when there are some where there were none: §6.7.3.4.
  func signal(_ state: inout State) {
    let isInterrupting = slot.isInterrupting
    configuration.set(0, asserted: isInterrupting)
    if isInterrupting && !state.wasInterrupting { configuration.signal(vector: 0) }
    state.wasInterrupting = isInterrupting
  }

  /// What of the slot and the link follows from what is in it.
  func resetSlot(isPresent: Bool) {
    guard express.kind.hasSlot else { return }
    if let slot = express.slot {
      let initial = SlotRegisters.initial(
        isPresent: isPresent, isHotPluggable: slot.isHotPluggable)
      configuration.with { $0.registers[slotIndex] = initial.value }
    }
    setLink(isActive: isPresent)
  }
}
