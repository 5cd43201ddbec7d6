/// What a user network has done so far, and what it holds now.
package struct UserNetworkStatistics: Sendable, Equatable {
  package var framesFromGuest: UInt64 = 0
  package var bytesFromGuest: UInt64 = 0
  package var framesToGuest: UInt64 = 0
  package var bytesToGuest: UInt64 = 0
  package var streamsOpened: UInt64 = 0
  package var streamsRefused: UInt64 = 0
  package var streamsReset: UInt64 = 0
  package var datagramFlowsOpened: UInt64 = 0
  package var datagramFlowsEvicted: UInt64 = 0
  /// TCP segments sent to the guest again, and how often a timer was the reason.
  package var retransmissions: UInt64 = 0
  package var retransmissionTimeouts: UInt64 = 0
  package var zeroWindowProbes: UInt64 = 0
  package var datagramsReassembled: UInt64 = 0
  /// Frames and packets dropped, by reason.
  package var drops: [Drop: UInt64] = [:]
  /// Now: TCP connections, UDP and echo flows, forwards.
  package var streams = 0
  package var datagramFlows = 0
  package var forwards = 0
  /// Memory that connections' data holds now.
  package var heldBytes = 0

  package init() {}

  /// Why something that came in went no further.
  package enum Drop: String, Sendable, CaseIterable {
    case malformed
    case tooLong
    case wrongChecksum
    /// From another Ethernet or IP address than is the guest's.
    case spoofed
    /// Not for us: another station's frame.
    case misaddressed
    case unknownProtocol
    /// A destination outside the plan or the egress policy.
    case forbidden
    case fragmentsOverlap
    case fragmentsLimit
    case fragmentsLate
    case noRoom
    case noFlow
    case outsideWindow
    case hostRefused
    case guestUnknown
  }

  mutating func drop(_ reason: Drop) { drops[reason, default: 0] &+= 1 }
}
