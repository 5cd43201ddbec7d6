import SavedState
import Testing

@Suite struct `A saved machine in a file` {
  /// A file as the first version wrote it. It must be readable for ever.
  static let golden =
    "524f4f5354534156010000006700000000000000a265706172747382a3646e616d6564636f6d3166"
    + "736368656d616b7561727431363535302f31677061796c6f61644aa16764697669736f720ca3646e"
    + "616d6564706f737466736368656d6166706f73742f31677061796c6f616441a0676d616368696e65"
    + "627063eba61731"

  static func tree() throws -> SavedTree {
    SavedTree(
      machine: "pc",
      parts: [
        try SavedPart(name: "com1", schema: "uart16550/1", value: ["divisor": 12]),
        try SavedPart(name: "post", schema: "post/1", value: Stateless()),
      ])
  }

  @Test func `a file reads back as the tree it was`() throws {
    let tree = try Self.tree()
    #expect(try SavedTree(decoding: tree.encoded()) == tree)
    let empty = SavedTree(machine: "")
    #expect(try SavedTree(decoding: empty.encoded()) == empty)
  }

  @Test func `the format has not changed`() throws {
    #expect(try Self.tree().encoded() == bytes(Self.golden))
    #expect(try SavedTree(decoding: bytes(Self.golden)) == Self.tree())
  }

  @Test func `a file cut short anywhere is refused`() throws {
    let file = try Self.tree().encoded()
    for count in file.indices {
      #expect(throws: RestoreError.self) { try SavedTree(decoding: Array(file[..<count])) }
    }
  }

  @Test func `a file with any bit turned over is refused`() throws {
    let file = try Self.tree().encoded()
    for bit in 0..<(file.count * 8) {
      var damaged = file
      damaged[bit / 8] ^= 1 << (bit % 8)
      #expect(throws: RestoreError.self) { try SavedTree(decoding: damaged) }
    }
  }

  @Test func `a file with something behind its end is refused`() throws {
    let file = try Self.tree().encoded()
    #expect(throws: RestoreError.self) { try SavedTree(decoding: file + [0]) }
    #expect(throws: RestoreError.self) { try SavedTree(decoding: file + file) }
  }

  @Test func `other files and other versions are told apart`() throws {
    let error = #expect(throws: RestoreError.self) { try SavedTree(decoding: [0x7F, 0x45]) }
    #expect(error == .malformed(part: "", reason: "the file is not a saved machine"))
    var later = try Self.tree().encoded()
    later[8] = 2
    let other = #expect(throws: RestoreError.self) { try SavedTree(decoding: later) }
    #expect(
      other == .malformed(part: "", reason: "the file has format 2, this version reads 1"))
  }

  @Test func `parts go by their names`() throws {
    let tree = try Self.tree()
    #expect(try tree.part("post").schema == "post/1")
    #expect(throws: RestoreError.missing(part: "com2")) { try tree.part("com2") }
    var twice = tree
    twice.parts.append(twice.parts[0])
    #expect(throws: SaveError.failed("two parts are named com1")) { try twice.encoded() }
  }

  @Test func `a part that cannot be saved says where`() {
    struct Deep: Encodable { var fifo: Nest }
    #expect(throws: SaveError.self) {
      try SavedPart(name: "com1", schema: "deep/1", value: Deep(fifo: Nest(depth: 64)))
    }
  }
}
