import HostOS
import Testing

@Suite struct AdaptivePollingTests {
  var polling = AdaptivePolling(longest: 100_000, processors: 2)

  @Test mutating func `a thread sleeps at once before it knows of short waits`() {
    #expect(
      polling.poll {
        Issue.record("it looks"); return true
      } == false)
    polling.slept(nanoseconds: 5_000_000)
    #expect(polling.window == 0)
  }

  @Test mutating func `it looks for longer than the last short wait, and at most for the longest`()
  {
    polling.slept(nanoseconds: 30_000)
    #expect(polling.window == 45_000)
    polling.slept(nanoseconds: 1)
    #expect(polling.window == 45_000)
    polling.slept(nanoseconds: 90_000)
    #expect(polling.window == 100_000)
  }

  @Test func `on one processor it does not look`() {
    var polling = AdaptivePolling(longest: 100_000, processors: 1)
    polling.slept(nanoseconds: 20_000)
    #expect(polling.window == 0)
  }

  @Test mutating func `long waits end the looking`() {
    polling.slept(nanoseconds: 90_000)
    for _ in 0..<4 { polling.slept(nanoseconds: 100_001) }
    #expect(polling.window == 0)
  }

  @Test mutating func `it stops looking when there is something, or after its time`() {
    polling.slept(nanoseconds: 90_000)
    var looks = 0
    let isThere = polling.poll {
      looks += 1
      return looks == 3
    }
    // An interruption of the test ends the looking early.
    #expect(isThere ? looks == 3 : looks < 3)
    #expect(polling.poll { false } == false)
  }
}
