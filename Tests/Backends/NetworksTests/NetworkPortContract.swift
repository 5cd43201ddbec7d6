import HostOS
import Networks
import Testing
import Work

/// What every port promises, checked on a pair of them that are joined.
struct NetworkPortContract: CustomTestStringConvertible, Sendable {
  /// Both ends, and what must live as long as they.
  struct Pair {
    var near: any NetworkPort
    var far: any NetworkPort
    var alive: [AnyObject] = []
  }
  let testDescription: String
  let join: @Sendable (EventLoop) throws -> Pair

  /// Answers the promises broken.
  func check() throws -> [String] {
    var broken: [String] = []
    func promise(_ sentence: String, _ holds: Bool) {
      if !holds { broken.append("\(testDescription): \(sentence)") }
    }
    let loop = try EventLoop(name: "ports")
    let pair = try join(loop)
    let near = PortTester(pair.near, on: loop)
    let far = PortTester(pair.far, on: loop)

    let sent = (0..<600).map { Sample.numbered($0, count: 60 + $0) }
    promise("frames can be sent", near.sendAll(sent))
    promise("all of them arrive", far.wait { $0.received.count == 600 })
    promise("in order and whole", far.received.map(\.bytes) == sent.map(\.bytes))
    promise("no more at once than was asked for", far.largestBatch <= 7)

    promise("the other way too", far.sendAll(sent) && near.wait { $0.received.count == 600 })
    promise("in order and whole", near.received.map(\.bytes) == sent.map(\.bytes))

    promise("nothing is nothing", near.port.receive(upTo: 10).isEmpty)
    promise("none is none", near.port.receive(upTo: 0).isEmpty)
    promise("no frames are sent", near.port.send([]) == 0)

    var bad = [Frame([]), Frame([1, 2, 3]), Frame([UInt8](repeating: 0, count: 200_000))]
    bad.append(Sample.numbered(1, count: 1000))
    bad[3].unfinished.checksum = (2000, 0)
    bad.append(Sample.numbered(1, count: 1000))
    bad[4].unfinished.segmentSize = 100
    promise("malformed frames are taken", near.sendAll(bad + [Sample.numbered(600)]))
    promise("and what follows them arrives", far.wait { $0.received.count >= 601 })
    promise("but they do not", far.received.count == 601)

    far.port.accept([])
    let long = Sample.tcp(.init(payload: Sample.payload(20_000), segmentSize: 1400))
    promise("what is left undone can be sent", near.sendAll([long, Sample.numbered(601)]))
    promise(
      "and is finished for a peer that cannot",
      far.wait { $0.received.last?.bytes == Sample.numbered(601).bytes })
    let parts = far.received.dropFirst(601).dropLast()
    promise("none of it is left undone", parts.allSatisfy { $0.unfinished.segmentSize == nil })
    promise("the sums are right", parts.allSatisfy { ReceivedTCP($0.bytes).sumsAreRight })
    promise(
      "all of it arrives",
      parts.flatMap { ReceivedTCP($0.bytes).payload } == Sample.payload(20_000))

    let before = far.received.count
    far.setTaking(false)
    promise("frames that are not taken wait", near.sendAll([Sample.numbered(602)]))
    promise("the user is told", far.wait { $0.told > 0 })
    far.setTaking(true)
    promise("and of the next change", near.sendAll([Sample.numbered(603)]))
    promise("so that nothing is lost", far.wait { $0.received.count == before + 2 })

    loop.stop()
    return broken
  }
}
