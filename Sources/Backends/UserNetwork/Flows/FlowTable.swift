/// All that has a socket of the host's, by number; and flows, by who speaks to whom.
struct FlowTable {
  enum Entry {
    case none
    case stream(TCPFlow)
    case datagrams(DatagramFlow)
    case forward(Forward)
  }

  private var entries: [Entry] = []
  private var generations: [UInt32] = []
  private var free: [Int] = []
  private var index: [FlowKey: Entry] = [:]
  private(set) var streams = 0
  private(set) var datagrams = 0
  private(set) var forwards = 0

  /// A number for an entry to come. Numbers are not given twice, so that news of a closed socket reaches nobody.
  mutating func makeToken() -> UInt64 {
    if let slot = free.popLast() { return token(slot) }
    entries.append(.none)
    generations.append(0)
    return token(entries.count - 1)
  }

  private func token(_ slot: Int) -> UInt64 {
    UInt64(generations[slot]) &<< 32 | UInt64(UInt32(truncatingIfNeeded: slot))
  }

  private func slot(_ token: UInt64) -> Int? {
    let slot = Int(token & 0xffff_ffff)
    guard slot < entries.count, generations[slot] == UInt32(token &>> 32) else { return nil }
    return slot
  }

  /// The number will not be used after all, or no longer.
  mutating func release(_ token: UInt64) {
    guard let slot = slot(token) else { return }
    entries[slot] = .none
    generations[slot] &+= 1
    free.append(slot)
  }

  mutating func add(_ flow: TCPFlow) {
    if let slot = slot(flow.token) { entries[slot] = .stream(flow) }
    index[flow.key] = .stream(flow)
    streams += 1
  }

  mutating func add(_ flow: DatagramFlow) {
    // A flow of a forward uses the forward's socket.
    if let token = flow.token, let slot = slot(token) { entries[slot] = .datagrams(flow) }
    index[flow.key] = .datagrams(flow)
    datagrams += 1
  }

  mutating func add(_ forward: Forward) {
    if let slot = slot(forward.token) { entries[slot] = .forward(forward) }
    forwards += 1
  }

  mutating func remove(_ flow: TCPFlow) {
    guard index.removeValue(forKey: flow.key) != nil else { return }
    streams -= 1
    release(flow.token)
  }

  mutating func remove(_ flow: DatagramFlow) {
    guard index.removeValue(forKey: flow.key) != nil else { return }
    datagrams -= 1
    if let token = flow.token { release(token) }
  }

  mutating func remove(_ forward: Forward) {
    forwards -= 1
    release(forward.token)
  }

  subscript(_ token: UInt64) -> Entry {
    guard let slot = slot(token) else { return .none }
    return entries[slot]
  }

  subscript(_ key: FlowKey) -> Entry { index[key] ?? .none }

  var all: [Entry] { Array(index.values) }

  var allForwards: [Forward] {
    entries.compactMap { entry in
      if case .forward(let forward) = entry { forward } else { nil }
    }
  }
}
