import CHostOS
import Glibc

extension Terminal {
  static func enterRawMode(_ handle: Int32) throws(HostError) {
    guard roost_terminal_enter_raw(handle) == 0 else {
      throw .last("put the terminal into raw mode")
    }
  }

  /// Puts the terminal back as it was found. Idempotent, from any thread.
  package static func leaveRawMode() { roost_terminal_restore() }

  package static var isRaw: Bool { roost_terminal_is_raw() != 0 }

  /// How much the terminal shows; `nil` if it does not say.
  package static func size(of terminal: Descriptor) -> Size? {
    var size = winsize()
    guard ioctl(terminal.handle, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Size(columns: Int(size.ws_col), rows: Int(size.ws_row))
  }
}
