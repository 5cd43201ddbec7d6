import Foundation

/// How many random scripts the suite runs: a few dozen, or as many as `ROOST_SCRIPTS` says.
enum Effort {
  static func scripts(_ usual: UInt64) -> ClosedRange<UInt64> {
    1...(ProcessInfo.processInfo.environment["ROOST_SCRIPTS"].flatMap(UInt64.init) ?? usual)
  }
}
