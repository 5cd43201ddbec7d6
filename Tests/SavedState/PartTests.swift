import SavedState
import Testing

@Suite struct `Saved parts` {
  struct State: Codable, Equatable {
    var divisor: UInt16
    var fifo: [UInt8]
  }
  let state = State(divisor: 12, fifo: [1, 2, 3])

  @Test func `a part reads back what it saved`() throws {
    let part = try SavedPart(name: "com1", schema: "uart16550/1", value: state)
    #expect(try part.decode(State.self, schema: "uart16550/1") == state)
  }

  @Test func `another schema is refused`() throws {
    let part = try SavedPart(name: "com1", schema: "uart16550/1", value: state)
    #expect(
      throws: RestoreError.schemaMismatch(
        part: "com1", found: "uart16550/1", expected: "uart16550/2")
    ) { try part.decode(State.self, schema: "uart16550/2") }
  }

  @Test func `a part without state is an empty map`() throws {
    let part = try SavedPart(name: "post", schema: "post/1", value: Stateless())
    #expect(part.payload == [0xA0])
    #expect(try part.decode(Stateless.self, schema: "post/1") == Stateless())
  }

  @Test(arguments: ["00", "8101", "a1616101", "f6"])
  func `a part without state reads nothing else`(payload: String) {
    #expect(throws: RestoreError.self) {
      try CBORDecoder().decode(Stateless.self, from: bytes(payload))
    }
  }

  @Test func `errors name the place by its path`() throws {
    struct Wide: Encodable { var divisor: UInt32, fifo: [UInt8] }
    let part = try SavedPart(
      name: "com1", schema: "uart16550/1", value: Wide(divisor: 70_000, fifo: []))
    let error = #expect(throws: RestoreError.self) {
      try part.decode(State.self, schema: "uart16550/1")
    }
    #expect(
      error == .malformed(part: "com1.divisor", reason: "70000 does not fit into UInt16"))
    #expect(
      error?.description
        == "the saved state of com1.divisor is malformed: 70000 does not fit into UInt16")
  }
}
