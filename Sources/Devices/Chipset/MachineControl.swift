/// What the chipset may ask of whoever owns the machine: effects that reach beyond the board.
///
/// Called on the threads of processors and loops, at times under a device's lock: a conformer notes
/// the wish, wakes whoever carries it out, and returns. It calls no device.
package protocol MachineControl: AnyObject, Sendable {
  /// The reset line was pulsed: the machine is to start again from power-on.
  func requestReset()
  /// The guest switched the machine off.
  func requestPowerOff()
  /// The guest asked for a sleep state: ACPI 6.5 §7.4, S`state`.
  func requestSleep(_ state: Int)
  /// One of the two that hold the A20 gate open lets it go, or holds it again. While neither does it is closed, and
  /// address bit 20 reads as zero.
  func setA20(_ enabled: Bool, by holder: A20Holder)
  /// A test guest ended, with this result.
  func exitForDebug(_ value: UInt32)
}

/// Who holds the A20 gate open: their signals are ORed.
///
/// - SeeAlso: Intel *ICH9 Family* data sheet (316972-004), §13.7.3 "PORT92—Fast A20 and Init Register".
package enum A20Holder: Sendable, CaseIterable {
  /// A20GATE: bit 1 of the keyboard controller's output port.
  case keyboardController
  /// ALT_A20_GATE: bit 1 of port 92h.
  case port92
}
