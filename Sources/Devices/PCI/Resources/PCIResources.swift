/// Gives a hierarchy its bus numbers and addresses, as firmware does where there is some.
///
/// It works through configuration space alone, like firmware, so it suits every function. The same
/// hierarchy gets the same addresses each time. Decoding is on afterwards and bus mastering is off, which
/// is for drivers to turn on.
///
/// Prefetchable BARs of 64 bits go above RAM, all others below 4 GiB: the window of a bridge for memory
/// that is not prefetchable reaches no further.
///
/// - SeeAlso: PCI 3.0 §6.2.5.1 "Address Maps"; PCI-to-PCI Bridge Architecture 1.2 §3.2.5; PCI
///   Firmware 3.3 §3.5 "Device State at Firmware/Operating System Handoff".
package struct PCIResources: Sendable {
  /// Memory below 4 GiB.
  package var memory: Range<UInt64>
  /// Memory above RAM; empty: there is none.
  package var highMemory: Range<UInt64>
  package var ports: Range<UInt64>
  /// What each hot-plug slot is given beyond what is in it: powers of two, or nothing.
  package var room = Room()

  package struct Room: Sendable, Equatable {
    /// Buses behind what may be inserted.
    package var buses = 3
    package var memory: UInt64 = 2 << 20
    package var highMemory: UInt64 = 1 << 30
    package static let none = Room(buses: 0, memory: 0, highMemory: 0)
  }

  /// - Parameter ports: by default those above the ISA bus'.
  package init(
    memory: Range<UInt64>, highMemory: Range<UInt64>, ports: Range<UInt64> = 0x1000..<0x1_0000
  ) {
    self.memory = memory
    self.highMemory = highMemory
    self.ports = ports
  }

  /// Assigns all anew. Only while no processor runs. If all does not fit with room for hot-plug, it is
  /// tried without buses, which only bridges need, and then without any.
  package func assign(_ root: PCIRoot) throws(PCIResourceError) {
    let withoutBuses = Room(buses: 0, memory: room.memory, highMemory: room.highMemory)
    for room in [room, withoutBuses, .none] {
      var planner = PCIPlanner(room: room, hasHighMemory: !highMemory.isEmpty)
      let plan = planner.plan(root.bus)
      let needed = [Space.ports, .memory, .highMemory].map { plan.needs($0) }
      let windows = [ports, memory, highMemory]
      let isLast = room == .none || self.room == .none
      guard planner.lastBus <= 255 else {
        if isLast { throw .tooManyBuses(planner.lastBus) }
        continue
      }
      if let lacking = zip(needed, windows).first(where: { !$0.fits($1) }) {
        if isLast { throw .doesNotFit(needed: lacking.0.size, available: lacking.1) }
        continue
      }
      plan.numberBuses()
      for (space, window) in zip([Space.ports, .memory, .highMemory], windows) {
        plan.place(space, at: window.lowerBound)
      }
      plan.enable()
      return
    }
  }
}

extension PCIResources {
  /// The three windows of a bridge, and what lies in each.
  enum Space: Int, Sendable, CaseIterable { case ports, memory, highMemory }
}

/// Why a hierarchy could not be given what it needs.
package enum PCIResourceError: Error, Sendable, Equatable, CustomStringConvertible {
  case tooManyBuses(Int)
  case doesNotFit(needed: UInt64, available: Range<UInt64>)

  package var description: String {
    switch self {
    case .tooManyBuses(let count):
      "The PCI hierarchy needs \(count + 1) buses; there are 256."
    case .doesNotFit(let needed, let available):
      "The PCI devices need \(needed) bytes between 0x\(String(available.lowerBound, radix: 16)) and "
        + "0x\(String(available.upperBound, radix: 16)), which is more than there are."
    }
  }
}
