import Testing

@testable import SameISA

struct StatusFlagsTests {
  @Test func allFlagsAreSix() {
    #expect(StatusFlags.all.rawValue.nonzeroBitCount == 6)
  }
}
