import Glibc
import HostOS

/// A pipe: what is written to one end is read at the other.
func makePipe() -> (reading: Descriptor, writing: Descriptor) {
  var ends: [Int32] = [0, 0]
  precondition(pipe(&ends) == 0)
  return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
}

/// A pseudo-terminal: a screen with a keyboard, and the terminal that a process sees.
func makeTerminal() -> (person: Descriptor, terminal: Descriptor) {
  let person = open("/dev/ptmx", O_RDWR | O_NOCTTY)
  var locked: Int32 = 0
  var number: UInt32 = 0
  // TIOCSPTLCK and TIOCGPTN: ioctl_tty(2).
  precondition(ioctl(person, 0x4004_5431, &locked) == 0)
  precondition(ioctl(person, 0x8004_5430, &number) == 0)
  let terminal = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
  precondition(terminal >= 0)
  return (Descriptor(owning: person), Descriptor(owning: terminal))
}

/// A client of a Unix socket.
func connectClient(_ path: String) -> Descriptor? {
  onSocket(path) { connect($0, $1, $2) }
}

/// A socket file at which nobody listens any more.
func leaveSocketBehind(_ path: String) {
  _ = onSocket(path) { bind($0, $1, $2) }
}

/// A new Unix socket, if `body` succeeds with it and the address for `path`.
private func onSocket(
  _ path: String, _ body: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Descriptor? {
  let descriptor = Descriptor(owning: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
  let result = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      body(descriptor.handle, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
  return result == 0 ? descriptor : nil
}

/// A path that nothing has used.
func temporaryPath(_ name: String) -> String {
  "/tmp/roost-\(getpid())-\(name)-\(UInt32.random(in: 0...UInt32.max))"
}

/// Reads until `count` bytes have come, or the end.
func read(_ count: Int, from handle: Descriptor) -> [UInt8] {
  var bytes: [UInt8] = []
  while bytes.count < count, let part = try? handle.read(upTo: count - bytes.count), !part.isEmpty {
    bytes += part
  }
  return bytes
}

/// Whether a terminal hands over every key by itself.
func isRaw(_ terminal: Descriptor) -> Bool {
  var settings = termios()
  tcgetattr(terminal.handle, &settings)
  return settings.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == 0
}
