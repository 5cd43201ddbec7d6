/// Names a flow: who of the guest speaks to whom, and how.
struct FlowKey: Hashable {
  let transport: Transport
  let guest: Endpoint
  let remote: Endpoint

  func hash(into hasher: inout Hasher) {
    hasher.combine(guest.address.low)
    hasher.combine(remote.address.high)
    hasher.combine(remote.address.low)
    hasher.combine(UInt32(guest.port) &<< 16 | UInt32(remote.port))
  }
}
