import FoundationEssentials
import HostOS
import Monitor

/// Tells how far something has come: as a bar that moves, on a terminal; else one line at the end.
final class ProgressBar {
  private let verb: String
  private let start = ContinuousClock.now
  private let isTerminal = Descriptor.standardError.isTerminal
  private var shown = -1
  private var done: UInt64 = 0

  /// - Parameter verb: what is being done, in the past tense: "Converted".
  init(_ verb: String) { self.verb = verb }

  /// - Returns: whether to go on; not if the user has interrupted it.
  func report(_ done: UInt64, of total: UInt64) -> Bool {
    self.done = done
    let percent = total == 0 ? 100 : Int(Double(done) / Double(total) * 100)
    if isTerminal, percent != shown {
      shown = percent
      let bar = String(repeating: "#", count: percent * 40 / 100)
        .padded(to: 40, with: ".")
      StandardError.write("\r[\(bar)] \(percent) %")
    }
    return !Interruption.hasCome
  }

  func end() {
    let duration = start.duration(to: .now)
    let seconds =
      Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    let rate = Double(done) / max(seconds, 1e-9) / Double(1 << 20)
    clear()
    StandardError.write(
      "\(verb) \(MemorySize(bytes: done)) in \(seconds.text(decimals: 1)) s (\(rate.text(decimals: 0)) MiB/s).\n"
    )
  }

  /// Takes the bar away.
  func clear() {
    if shown >= 0 { StandardError.write("\r" + String(repeating: " ", count: 50) + "\r") }
    shown = -1
  }
}
