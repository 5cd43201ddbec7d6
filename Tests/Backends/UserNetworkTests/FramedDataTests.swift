import Testing

@testable import UserNetwork

/// Data as it lies in frames: heads of 0xff, and bytes that count.
@Suite struct FramedDataTests {
  private static let head: [UInt8] = [0xff, 0xff, 0xff]

  private func framed(_ count: Int, piecesOf size: Int) -> FramedData {
    var storage: [UInt8] = []
    for byte in 0..<count {
      if byte % size == 0 { storage += Self.head }
      storage.append(UInt8(byte))
    }
    return FramedData(storage, behind: Self.head.count, piecesOf: size)
  }

  private func bytes(_ data: FramedData) -> [Int] {
    var bytes: [UInt8] = []
    data.append(to: &bytes)
    return bytes.map(Int.init)
  }

  @Test(arguments: [1, 2, 4, 9, 10, 11, 200])
  func `heads are no part of the data, whatever the last piece is long`(_ size: Int) {
    let data = framed(100, piecesOf: size)
    #expect(data.count == 100 && !data.isEmpty)
    #expect(bytes(data) == Array(0..<100))
  }

  @Test func `nothing is nothing`() {
    #expect(FramedData.none.isEmpty && FramedData.none.cost == 0)
    #expect(bytes(.none) == [])
  }

  @Test func `the front may go, at any byte, and no more than there is`() {
    for number in 0...25 {
      var data = framed(20, piecesOf: 7)
      data.removeFirst(number)
      #expect(bytes(data) == Array(min(number, 20)..<20))
    }
  }

  @Test func `it may be cut at any byte, and again`() {
    for place in 0...20 {
      for second in 0...20 - place {
        var first = framed(20, piecesOf: 6)
        var rest = first.cut(to: place)
        let last = rest.cut(to: second)
        #expect(bytes(first) == Array(0..<place))
        #expect(bytes(rest) == Array(place..<place + second))
        #expect(bytes(last) == Array(place + second..<20))
      }
    }
  }

  // 20 bytes in 4 pieces are 32 with their heads.
  @Test func `the memory of all frames is the last part's, however it was cut`() {
    var first = framed(20, piecesOf: 6)
    #expect(first.cost == 32)
    var middle = first.cut(to: 6)
    var last = middle.cut(to: 7)
    #expect([first, middle, last].map(\.cost) == [0, 0, 32])
    last.removeFirst(6)
    #expect(last.cost == 32)
  }
}

@Suite struct RingTests {
  @Test func `an empty ring takes over an array, another copies it`() {
    var ring = Ring<Int>()
    var others = [1, 2]
    ring.append(all: &others)
    #expect(others.isEmpty)
    others = [3, 4, 5]
    ring.append(all: &others)
    #expect(others.isEmpty && ring.first(9) == [1, 2, 3, 4, 5])
  }

  @Test(arguments: 0...7, 0...4)
  func `elements are taken off the front in order`(_ limit: Int, _ dropped: Int) {
    var ring = Ring<Int>()
    var numbers = Array(0..<5)
    ring.append(all: &numbers)
    ring.removeFirst(dropped)
    let left = Array(dropped..<5)
    #expect(ring.take(upTo: limit, leaving: -1) == Array(left.prefix(limit)))
    #expect(ring.first(9) == Array(left.dropFirst(limit)))
    ring.append(9)
    #expect(ring.first(9) == left.dropFirst(limit) + [9])
  }
}
