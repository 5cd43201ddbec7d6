/// A cable with nothing at its other end: frames vanish and none comes.
package final class NullPort: NetworkPort {
  package init() {}

  package var maximumTransmissionUnit: Int { 1500 }
  package var offloads: Offloads { .all }
  package func accept(_ offloads: Offloads) {}
  package func send(_ frames: [Frame]) -> Int { frames.count }
  package func receive(upTo count: Int) -> [Frame] { [] }
  package func attach(_ user: any NetworkPortUser) {}
}
