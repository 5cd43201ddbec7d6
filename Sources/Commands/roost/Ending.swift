import Monitor

/// How `roost run` ends: its exit code, and what it has to say about it.
///
/// Roost's own codes are even and the debug exit device's are odd, so that each code has one meaning.
struct Ending: Sendable, Equatable {
  let code: Int32
  let message: String?

  /// Codes of runs that did not come to be, or broke off: those of BSD's `sysexits.h` that are even.
  enum Failure: Int32 {
    /// EX_USAGE: the command line or a file it names is no good.
    case configuration = 64
    /// EX_SOFTWARE: the engine failed.
    case engine = 70
    /// EX_IOERR: the host failed.
    case host = 74
  }

  static func failed(_ failure: Failure, _ message: String) -> Ending {
    Ending(code: failure.rawValue, message: message)
  }

  /// The machine was saved, as asked, and is to go on elsewhere.
  static let saved = Ending(code: 8, message: nil)

  init(code: Int32, message: String?) {
    self.code = code
    self.message = message
  }

  init(_ reason: ExitReason) {
    switch reason {
    case .poweredOff: self.init(code: 0, message: nil)
    case .reset: self.init(code: 2, message: nil)
    case .tripleFault(let processor):
      self.init(
        code: 4,
        message: "Processor \(processor) of the guest shut down: an exception occurred while it "
          + "delivered a double fault.")
    case .stopped: self.init(code: 6, message: nil)
    case .debugExit(let value): self.init(code: Int32(value & 0x7f) << 1 | 1, message: nil)
    case .failed(let sentence): self = .failed(.engine, sentence)
    }
  }

  static let table = """
    Exit codes:
      0   the guest switched itself off
      2   the guest reset the machine, with --no-reboot or after --restore
      4   the guest's processor shut down (triple fault)
      6   stopped from outside: by key, signal, or at the end of the grace time
      8   saved by --snapshot-after
      64  the command line, or a file it names, is no good
      70  the engine failed
      74  the host failed
      odd, 1 + 2 × value: the guest wrote the value to the debug exit device
    """
}
