package import Board
package import Inspection
package import SavedState
import Synchronization

/// Port 80h, where firmware leaves its progress codes; Linux writes to it to pass the time.
///
/// - SeeAlso: IBM *PC AT Technical Reference* (1985), "Manufacturing test port".
package final class POSTPort {
  // State: everything the guest can change.
  private let code = Atomic<UInt8>(0)
  private let written = Atomic<UInt64>(0)

  package init() {}

  /// The last code that was written.
  package var lastCode: UInt8 { code.load(ordering: .relaxed) }
}

// MARK: - What the guest sees

extension POSTPort: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    try check(access)
    return UInt64(lastCode)
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    try check(access)
    code.store(UInt8(truncatingIfNeeded: value), ordering: .relaxed)
    written.add(1, ordering: .relaxed)
  }

  private func check(_ access: Access) throws(IOError) {
    guard access.offset == 0 else { throw .noSuchRegister }
    guard access.width == .byte else { throw .unsupportedWidth }
  }
}

// MARK: - What the machine sees

extension POSTPort: Component {
  package static let schema = "post-port/1"

  package struct Saved: Codable, Sendable {
    var code: UInt8
  }

  package func reset() { code.store(0, ordering: .relaxed) }

  package func save() -> Saved { Saved(code: lastCode) }

  package func restore(_ saved: Saved) throws(RestoreError) {
    code.store(saved.code, ordering: .relaxed)
  }

  package func inspect(_ node: inout Node) {
    node.hex("lastCode", lastCode)
    node.field("written", written.load(ordering: .relaxed))
  }
}
