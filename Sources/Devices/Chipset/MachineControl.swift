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
  /// Whether the A20 gate is open; closed, address bit 20 reads as zero.
  ///
  /// There is one gate, which port 92h and the keyboard controller both show and move: whoever writes last decides.
  /// Chipsets OR the two, but firmware leaves only one of them in use, and guests that close the gate by either expect
  /// it closed.
  var isA20Open: Bool { get }
  func setA20(_ isOpen: Bool)
  /// A test guest ended, with this result.
  func exitForDebug(_ value: UInt32)
}
