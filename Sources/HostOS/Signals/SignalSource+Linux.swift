import CHostOS
import Glibc

extension Signal {
  var number: Int32 {
    switch self {
    case .hangUp: SIGHUP
    case .interrupt: SIGINT
    case .quit: SIGQUIT
    case .terminate: SIGTERM
    case .user1: SIGUSR1
    case .user2: SIGUSR2
    case .resumed: SIGCONT
    }
  }
}

extension SignalSource {
  /// A pipe into which the handler writes the number of each signal.
  static func catchSignals(_ signals: [Signal]) throws(HostError) -> Descriptor {
    let handle = roost_signals_pipe()
    guard handle >= 0 else { throw .last("make a pipe for signals") }
    for signal in signals {
      guard roost_signals_catch(signal.number) == 0 else { throw .last("catch a signal") }
    }
    return Descriptor(borrowing: handle)
  }

  static func take(_ pipe: Descriptor) -> [Signal] {
    guard let bytes = try? pipe.read(upTo: 64) else { return [] }
    return bytes.compactMap { byte in Signal.allCases.first { $0.number == Int32(byte) } }
  }

  /// Makes a write to a pipe without a reader fail instead of ending the process.
  package static func ignoreFailedWrites() {
    _ = signal(SIGPIPE, SIG_IGN)
    _ = signal(SIGXFSZ, SIG_IGN)
  }
}
