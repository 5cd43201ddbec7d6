import Monitor
import Testing

@testable import roost

struct EndingTests {
  private let reasons: [ExitReason] =
    [.poweredOff, .reset, .tripleFault(processor: 0), .stopped, .failed("x")]
    + (0..<128).map { .debugExit($0) }

  @Test func `every way to end has a code of its own`() {
    let codes =
      reasons.map { Ending($0).code } + [
        Ending.saved.code, Ending.failed(.configuration, "").code, Ending.failed(.host, "").code,
      ]
    #expect(Set(codes).count == codes.count)
    #expect(codes.allSatisfy { (0...255).contains($0) })
  }

  @Test func `a guest that switches off ends in success, silently`() {
    #expect(Ending(.poweredOff) == Ending(code: 0, message: nil))
  }

  @Test func `the debug exit device has QEMU's codes`() {
    #expect(Ending(.debugExit(0)).code == 1)
    #expect(Ending(.debugExit(0x31)).code == 0x63)
  }
}
