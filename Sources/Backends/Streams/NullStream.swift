/// A line with nothing at its other end: takes every byte, brings none.
package final class NullStream: ByteStream {
  package init() {}
  package func send(_ bytes: [UInt8]) -> Int { bytes.count }
  package func receive(upTo count: Int) -> [UInt8] { [] }
  package func attach(_ user: any ByteStreamUser) {}
}
