import Testing

@testable import roost

struct TextTests {
  @Test(arguments: [
    (0.0, 0, "0"), (0.4, 0, "0"), (1.5, 0, "2"), (0.05, 2, "0.05"), (12.3456, 1, "12.3"),
    (-0.04, 1, "0.0"), (-2.25, 2, "-2.25"), (999.999, 2, "1000.00"), (.infinity, 1, "inf"),
  ])
  func `numbers have as many digits as asked`(number: Double, decimals: Int, text: String) {
    #expect(number.text(decimals: decimals) == text)
  }

  @Test func `text is filled up, and never cut`() {
    #expect("ab".padded(to: 4) == "ab  ")
    #expect("abc".padded(to: 2, with: ".") == "abc")
  }
}
