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
  /// The A20 gate opened, or closed: closed, address bit 20 reads as zero.
  func setA20(_ enabled: Bool)
  /// A test guest ended, with this result.
  func exitForDebug(_ value: UInt32)
}
