package import Work

extension GuestClock {
  /// Guest time as it is saved with a machine.
  package struct Saved: Codable, Sendable, Equatable {
    package var now: VMInstant
    package var epoch: Int64
  }

  package static let schema = "guest-clock/1"

  package var saved: Saved { Saved(now: now, epoch: epoch) }
}
