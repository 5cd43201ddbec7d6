/// A virtual trust level: TLFS §15. Level 0 is the guest's own; higher is more privileged.
package struct VTL: RawRepresentable, Sendable, Hashable, Codable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  package static let zero = VTL(rawValue: 0)
}
