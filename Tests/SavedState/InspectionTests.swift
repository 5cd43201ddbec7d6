import Inspection
import Testing

@Suite struct `The inspection tree` {
  struct UART: Sendable {
    struct LineControl: Sendable { var raw: UInt8 = 0x1b }
    enum Stage: Sendable { case idle, sending }
    var divisor: UInt16 = 12
    var lineControl = LineControl()
    var stage = Stage.sending
    var fifo: [UInt8] = [0x73, 0x65, 0x63]
    var deadline: UInt64?
    var isBusy = true
  }

  @Test func `fields keep their order, and values stand in one column`() {
    var node = Node()
    node.child("com1") { com1 in
      com1.field("name", "ttyS0")
      com1.hex("port", UInt16(0x3f8))
      com1.child("line") { $0.field("stop bits", 1) }
      com1.redacted("received", bytes: 1)
    }
    node.field("processors", 2)
    #expect(
      node.text() == """
        com1
          name      ttyS0
          port      0x03f8
          line
            stop bits  1
          received  <1 byte of guest data>
        processors  2
        """)
    #expect(node.text(indent: 4).hasPrefix("    com1\n      name"))
    #expect(
      node.json()
        == #"{"com1":{"name":"ttyS0","port":"0x03f8","line":{"stop bits":1},"#
        + #""received":"<1 byte of guest data>"},"processors":2}"#)
  }

  @Test func `reflection shows every stored property, and of guest data only its size`() {
    var node = Node()
    node.reflect(UART())
    #expect(
      node.text() == """
        divisor      12
        lineControl  0x1b
        stage        sending
        fifo         <3 bytes of guest data>
        deadline     -
        isBusy       true
        """)
  }

  @Test func `a field written again keeps its place`() {
    var node = Node()
    node.reflect(UART())
    node.hex("divisor", UInt16(12))
    node.child("late") { $0.field("a", 1) }
    node.child("late") { $0.field("b", 2) }
    #expect(node.text().hasPrefix("divisor      0x000c\n"))
    #expect(node.find("late")?.json() == #"{"a":1,"b":2}"#)
  }

  @Test func `bytes are redacted wherever they are`() {
    enum Slot { case empty, full([UInt8], at: Int) }
    struct State {
      var slots: [Slot] = [.empty, .full([1, 2], at: 7)]
      var slice = [UInt8](0..<9)[2..<5]
      var contiguous: ContiguousArray<UInt8> = [1]
      var nested: [[UInt8]] = [[1], []]
      var optional: [UInt8]? = [1, 2, 3, 4]
      var named: [String: [UInt8]] = ["key": [1]]
      var tuple: (UInt8, UInt8) = (1, 2)
      var none: [UInt8] = []
    }
    var node = Node()
    node.reflect(State())
    #expect(
      node.json()
        == #"{"slots":["empty",{"full":{"0":"<2 bytes of guest data>","at":7}}],"#
        + #""slice":"<3 bytes of guest data>","contiguous":"<1 byte of guest data>","#
        + #""nested":["<1 byte of guest data>","<0 bytes of guest data>"],"#
        + #""optional":"<4 bytes of guest data>","named":{"key":"<1 byte of guest data>"},"#
        + #""tuple":"<2 bytes of guest data>","none":"<0 bytes of guest data>"}"#)
  }

  @Test func `values show themselves as they are`() {
    struct Flags: OptionSet { let rawValue: UInt8 }
    struct Instant: CustomStringConvertible { var description: String { "1.5 s" } }
    struct Counter: Inspectable { func inspect(_ node: inout Node) { node.field("count", 9) } }
    final class Wire {}
    struct State {
      var flags: Flags = Flags(rawValue: 5)
      var instant = Instant()
      var counter = Counter()
      var wire = Wire()
      var action: () -> Void = {}
      var range: Range<UInt64> = 0..<4
      var numbers: Set<Int> = [10, 3, 9]
      var byNumber = [10: "b", 9: "a"]
      var pair = (1, name: "x")
      var least = Int64.min, most = UInt64.max
      var real = 0.5, infinite = Float.infinity
    }
    var node = Node()
    node.reflect(State())
    #expect(
      node.text() == """
        flags     0x05
        instant   1.5 s
        counter
          count  9
        wire      Wire
        action    () -> ()
        range     0..<4
        numbers   [3, 9, 10]
        byNumber
          9   a
          10  b
        pair
          0     1
          name  x
        least     -9223372036854775808
        most      18446744073709551615
        real      0.5
        infinite  inf
        """)
    #expect(node.find("infinite")?.json() == #""inf""#)
  }

  @Test func `long lists stand in rows`() {
    var node = Node()
    node.field("lines", Array(repeating: 100_000_000, count: 9))
    #expect(
      node.text() == """
        lines
          0  [\(Array(repeating: "100000000", count: 8).joined(separator: ", "))]
          8  [100000000]
        """)
    node.field("lines", Array(repeating: UInt16(1), count: 100_000))
    #expect(node.find("lines/256")?.text() == "… 99744 more")
  }

  @Test func `values without end are shown up to some depth`() {
    indirect enum Chain { case end, link(Chain) }
    let chain = (0..<1000).reduce(Chain.end) { chain, _ in .link(chain) }
    var node = Node()
    node.reflect(chain)
    #expect(node.text().hasSuffix("link  …"))
  }

  @Test func `a path finds a node`() {
    var node = Node()
    node.child("devices") { devices in
      devices.child("com1") { $0.field("lines", [true, false]) }
      devices.child("pci/00:01.0") { $0.field("vendor", 0x8086) }
    }
    #expect(node.find("devices/com1/lines/1")?.text() == "false")
    #expect(node.find("/devices/pci/00:01.0/vendor")?.text() == "32902")
    #expect(node.find("")?.json() == node.json())
    for path in [
      "com1", "devices/com2", "devices/com1/lines/2", "devices/com1/lines/-1", "devices/pci",
    ] {
      #expect(node.find(path) == nil)
    }
  }

  @Test func `what a guest wrote can neither steer the terminal nor break the document`() {
    var node = Node()
    node.field("banner", "a\u{1b}[2J\r\n\u{202e}\"\\\u{9b}\0é水")
    #expect(node.text() == #"banner  a\u{1B}[2J\r\n\u{202E}"\\u{009B}\0é水"#)
    #expect(
      node.json() == #"{"banner":"a\u001b[2J\u000d\n\#u{202e}\"\\\u009b\u0000é水"}"#)
  }
}
