/// What a check has found, in the terms of `qemu-img check`.
package struct QCOW2CheckReport: Sendable, Equatable {
  /// Places where data or tables are at risk: clusters counted less than used, entries that point nowhere.
  package var corruptions: UInt64 = 0
  /// Clusters counted more than used: only room is lost.
  package var leaks: UInt64 = 0
  /// Parts that could not be looked at.
  package var checkErrors: UInt64 = 0
  package var corruptionsFixed: UInt64 = 0
  package var leaksFixed: UInt64 = 0

  /// Guest clusters: all, those stored, those of them compressed, and those that do not follow the one before.
  package var totalClusters: UInt64 = 0
  package var allocatedClusters: UInt64 = 0
  package var compressedClusters: UInt64 = 0
  package var fragmentedClusters: UInt64 = 0
  /// Behind the last host cluster in use, in bytes.
  package var imageEnd: UInt64 = 0
  /// The first findings, a sentence each.
  package private(set) var findings: [String] = []

  package var isClean: Bool { corruptions == 0 && leaks == 0 && checkErrors == 0 }

  private static let mostFindings = 100

  mutating func corruption(_ sentence: @autoclosure () -> String) {
    corruptions += 1
    if findings.count < Self.mostFindings { findings.append(sentence()) }
  }

  mutating func leak(_ sentence: @autoclosure () -> String) {
    leaks += 1
    if findings.count < Self.mostFindings { findings.append(sentence()) }
  }

  mutating func failed(_ sentence: String) {
    checkErrors += 1
    if findings.count < Self.mostFindings { findings.append(sentence) }
  }
}

/// What a check may change.
package enum QCOW2Repair: Sendable {
  case none
  /// Only what is counted and not used.
  case leaks
  case all
}
