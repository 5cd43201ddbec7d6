/// Something that reads what nobody vouches for, and how to hand it bytes.
///
/// `run` builds everything anew, does what the bytes say, and leaves nothing behind: the same bytes have the same
/// effect in every process. Whatever they are, it returns, soon; it ends the process if a promise was broken.
package struct FuzzTarget: Sendable {
  package let name: String
  package let run: @Sendable ([UInt8]) -> Void

  init(_ name: String, _ run: @escaping @Sendable ([UInt8]) -> Void) {
    self.name = name
    self.run = run
  }

  package static let all: [FuzzTarget] =
    virtio + [pci, image, disk] + shares + [userNetwork] + services + [dnsStream, frameStream]
    + [decoder, processor, translator]
}

/// Ends the process if a promise was broken.
func require(_ kept: Bool, _ promise: @autoclosure () -> String) {
  if !kept { fatalError("Broken: " + promise()) }
}
