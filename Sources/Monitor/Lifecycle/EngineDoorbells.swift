package import Board
package import Execution
package import Logging
import Synchronization
import Work

/// Tells an engine which writes on the buses only ring doorbells, so that it can ring them itself.
///
/// What it cannot be told of reaches the bus, and the device rings.
package final class EngineDoorbells: Sendable {
  private struct Entry: Sendable {
    let trigger: DoorbellTrigger
    let doorbell: any Doorbell
    /// Whether the engine took it.
    var isConnected = false
  }

  private struct State: Sendable {
    var registrar: (any DoorbellRegistrar)?
    var entries: [Entry] = []
  }

  private let log: Logger
  private let state = Mutex(State())

  package init(_ log: Logger) { self.log = log }

  /// Hears of what is on the board's buses from now on.
  package func watch(_ board: Backplane) {
    board.ports.watch(by: Space(of: self, .ports))
    board.registers.watch(by: Space(of: self, .registers))
  }

  /// Another engine, or none, is to ring from now on. The former one is not told: it runs nothing any more.
  package func connect(to registrar: (any DoorbellRegistrar)?) {
    state.withLock { state in
      state.registrar = registrar
      for index in state.entries.indices { state.entries[index].isConnected = false }
      for index in state.entries.indices { add(&state.entries[index], to: registrar) }
    }
  }

  /// How many the engine rings.
  package var count: Int { state.withLock { $0.entries.count(where: \.isConnected) } }

  private func add(_ entry: inout Entry, to registrar: (any DoorbellRegistrar)?) {
    guard let registrar, entry.doorbell.hostHandle != nil else { return }
    do throws(EngineError) {
      try registrar.add(entry.doorbell, for: entry.trigger)
      entry.isConnected = true
    } catch {
      log.debug("A doorbell goes by the bus: \(error)")
    }
  }
}

extension EngineDoorbells {
  /// One of the buses.
  private final class Space: BusWatcher {
    private let owner: EngineDoorbells
    private let space: AddressSpace

    init(of owner: EngineDoorbells, _ space: AddressSpace) {
      self.owner = owner
      self.space = space
    }

    func mapped(_ mapping: IOBus.Mapping) { owner.add(triggers(mapping)) }
    func unmapped(_ mapping: IOBus.Mapping) { owner.remove(triggers(mapping)) }

    private func triggers(_ mapping: IOBus.Mapping) -> [Entry] {
      mapping.device.doorbells(in: mapping.region).map { place in
        let address = mapping.range.lowerBound + place.offset
        return Entry(
          trigger: DoorbellTrigger(space, address, place.width, value: place.value),
          doorbell: place.doorbell)
      }
    }
  }

  private func add(_ entries: [Entry]) {
    guard !entries.isEmpty else { return }
    state.withLock { state in
      for var entry in entries {
        add(&entry, to: state.registrar)
        state.entries.append(entry)
      }
    }
  }

  private func remove(_ entries: [Entry]) {
    guard !entries.isEmpty else { return }
    state.withLock { state in
      let gone = Set(entries.map(\.trigger))
      for entry in state.entries where entry.isConnected && gone.contains(entry.trigger) {
        // It fails only for what is not there.
        try? state.registrar?.remove(entry.doorbell, for: entry.trigger)
      }
      state.entries.removeAll { gone.contains($0.trigger) }
    }
  }
}
