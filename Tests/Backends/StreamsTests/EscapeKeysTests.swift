import Streams
import Testing

struct EscapeKeysTests {
  private func effects(_ keys: String) -> [EscapeKeys.Effect] {
    var machine = EscapeKeys()
    return machine.take(keys.utf8)
  }

  @Test func `ordinary keys reach the guest together and unchanged`() {
    #expect(effects("ls\r\u{3}") == [.toGuest(Array("ls\r\u{3}".utf8))])
  }

  @Test func `the escape key and a letter make a command`() {
    #expect(effects("\u{1d}e") == [.command(.changeEngine)])
    #expect(effects("a\u{1d}qb") == [.toGuest([0x61]), .command(.quit), .toGuest([0x62])])
  }

  @Test func `the escape key pressed twice reaches the guest once`() {
    #expect(effects("\u{1d}\u{1d}") == [.toGuest([0x1d])])
  }

  @Test func `an unknown letter shows the list of commands`() {
    guard case .show(let text) = effects("\u{1d}?").first else {
      Issue.record("nothing was shown")
      return
    }
    #expect(text.contains("press the power button"))
  }

  @Test func `a path is typed on a line of its own and can be corrected`() {
    #expect(
      effects("\u{1d}iab\u{7f}c\r").last == .command(.inspect(path: "ac")))
    #expect(effects("\u{1d}s/tmp/x\r").last == .command(.save(path: "/tmp/x")))
  }

  @Test func `a device is plugged in by its option's value, and unplugged by its name`() {
    #expect(
      effects("\u{1d}+disk path=a.raw,bus=rp0\r").last
        == .command(.plug(device: "disk path=a.raw,bus=rp0")))
    #expect(effects("\u{1d}-disk1\r").last == .command(.unplug(name: "disk1")))
    #expect(effects("\u{1d}-\r").allSatisfy { if case .show = $0 { true } else { false } })
  }

  @Test func `Ctrl-C gives the line up and nothing of it reaches the guest`() {
    let all = effects("\u{1d}iab\u{3}x")
    #expect(all.last == .toGuest([0x78]))
    #expect(!all.contains { if case .command = $0 { true } else { false } })
  }
}
