import Glibc
import HostOS
import Networks
import UserNetwork
import Work

/// How many bytes of TCP the user network carries in a second of this process's processor time, driven by frames and
/// without a guest. usage: up|down MEBIBYTES plain|long [narrow]
///
/// The other end is a child process, so that its time is its own. `long`: the guest leaves sums and the cutting of
/// segments to us, and we to it, as virtio guests do. `narrow`: the guest does not scale windows, so that they are of
/// 64 KiB, as with libslirp. Each frame to the network is made and copied here, as a device does.
@main struct Benchmark {
  static func main() throws {
    let arguments = CommandLine.arguments
    if arguments.count == 5, arguments[3] == "child", let total = Int(arguments[2]),
      let listener = Int32(arguments[4])
    {
      beOtherEnd(isUp: arguments[1] == "up", total: total, listener: listener)
    }
    let isNarrow = arguments.count == 5 && arguments[4] == "narrow"
    guard arguments.count == 4 || isNarrow, let size = Int(arguments[2]) else {
      print("usage: \(arguments[0]) up|down MEBIBYTES plain|long [narrow]")
      exit(64)
    }
    let isUp = arguments[1] == "up"
    let total = size << 20
    let port = serve(isUp: isUp, total: total)

    let loop = try EventLoop(name: "network")
    var plan = UserNetworkPlan()
    plan.allowsHostLoopback = true
    let network = UserNetwork(
      plan: plan, loop: loop, clock: HostTime(loop), host: HostSockets(loop: loop))
    let isLong = arguments[3] == "long"
    network.accept(isLong ? [.checksum, .segmentTCPv4] : [])
    let card = Card(
      network, loop, port: port, isUp: isUp, total: total, isLong: isLong, isNarrow: isNarrow)
    network.attach(card)
    let before = timeUsed()
    loop.post { card.connect() }
    _ = card.isDone.wait()
    let after = timeUsed()
    let system = after.system - before.system
    let seconds = after.user - before.user + system
    let rate = Int(Double(size) / seconds)
    print(
      "roost \(arguments[1]) \(arguments[3])\(isNarrow ? " narrow" : ""): "
        + "\(rate) MiB per processor second (\(rounded(seconds)) s, of them "
        + "\(rounded(system)) s in the host; \(total / max(1, card.frames)) bytes a frame)")
    exit(0)
  }

  /// This process's processor time so far, in seconds.
  static func timeUsed() -> (user: Double, system: Double) {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return (
      Double(usage.ru_utime.tv_sec) + Double(usage.ru_utime.tv_usec) / 1e6,
      Double(usage.ru_stime.tv_sec) + Double(usage.ru_stime.tv_usec) / 1e6
    )
  }

  static func rounded(_ seconds: Double) -> Double { (seconds * 100).rounded() / 100 }

  /// What the child does.
  static func beOtherEnd(isUp: Bool, total: Int, listener: Int32) -> Never {
    let client = accept(listener, nil, nil)
    var bytes = [UInt8](repeating: 7, count: 1 << 18)
    if isUp {
      while read(client, &bytes, bytes.count) > 0 {}
    } else {
      var left = total
      while left > 0 {
        let count = write(client, bytes, min(left, bytes.count))
        if count <= 0 { break }
        left -= count
      }
      _ = read(client, &bytes, 1)
    }
    exit(0)
  }

  /// A child process that reads all, or writes `total` bytes; answers its port.
  static func serve(isUp: Bool, total: Int) -> UInt16 {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
        bind(listener, raw, length)
        listen(listener, 1)
        getsockname(listener, raw, &length)
      }
    }
    var child = pid_t()
    let words = [
      CommandLine.arguments[0], isUp ? "up" : "down", String(total), "child", "\(listener)",
    ]
    var argv = words.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
    posix_spawn(&child, "/proc/self/exe", nil, nil, &argv, environ)
    close(listener)
    return UInt16(bigEndian: address.sin_port)
  }
}

/// The guest's end: just enough of TCP for a cable that loses nothing.
final class Card: NetworkPortUser, @unchecked Sendable {
  // Sendable although it varies: only the loop touches it.
  let network: UserNetwork
  let loop: any Loop
  let isDone = Event()
  private let isUp: Bool
  private let total: Int
  private let port: UInt16
  private let segment: Int
  private let isLong: Bool
  private let isNarrow: Bool
  /// Those with data.
  private(set) var frames = 0
  private let payload: [UInt8]
  private let payloadSum: UInt32
  private var isEstablished = false
  private var next: UInt32 = 1000
  private var acknowledged: UInt32 = 1001
  private var window = 0
  private var scale = 0
  private var receivedNext: UInt32 = 0
  private var sent = 0
  private var received = 0

  init(
    _ network: UserNetwork, _ loop: any Loop, port: UInt16, isUp: Bool, total: Int, isLong: Bool,
    isNarrow: Bool
  ) {
    self.network = network
    self.loop = loop
    self.port = port
    self.isUp = isUp
    self.total = total
    self.isLong = isLong
    self.isNarrow = isNarrow
    segment = isLong ? 44 * 1460 : 1460
    payload = (0..<segment).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    payloadSum = UInt32(InternetSum.of(payload, 0..<segment))
  }

  func connect() {
    _ = network.send([frame(2, 0, [2, 4, 5, 180] + (isNarrow ? [] : [1, 3, 3, 7]))])
  }

  private func frame(_ flags: UInt8, _ count: Int, _ options: [UInt8] = []) -> Frame {
    var bytes: [UInt8] = []
    let headers = 54 + options.count
    bytes.reserveCapacity(headers + count)
    bytes += [
      0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0,
      64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2, 0x9c, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff,
      0xff, 0, 0, 0, 0,
    ]
    bytes += options
    put(&bytes, UInt16(40 + options.count + count), 16)
    put(&bytes, ~InternetSum.of(bytes, 14..<34), 24)
    put(&bytes, port, 36)
    put(&bytes, UInt16(truncatingIfNeeded: next >> 16), 38)
    put(&bytes, UInt16(truncatingIfNeeded: next), 40)
    put(&bytes, UInt16(truncatingIfNeeded: receivedNext >> 16), 42)
    put(&bytes, UInt16(truncatingIfNeeded: receivedNext), 44)
    bytes[46] = UInt8(5 + options.count / 4) << 4
    bytes[47] = flags
    var frame = Frame([])
    if isLong {
      frame.unfinished.checksum = (34, 16)
      frame.unfinished.segmentSize = count > 1460 ? 1460 : nil
    } else {
      let pseudo = UInt32(InternetSum.of(bytes, 26..<headers)) + 6 + UInt32(headers - 34 + count)
      var sum = pseudo + (count > 0 ? payloadSum : 0)
      while sum >> 16 != 0 { sum = (sum & 0xffff) + (sum >> 16) }
      put(&bytes, ~UInt16(sum), 50)
    }
    if count > 0 {
      bytes += payload
      frames += 1
    }
    next &+= UInt32(count) + (flags & 3 == 0 ? 0 : 1)
    frame.bytes = bytes
    return frame
  }

  private func put(_ bytes: inout [UInt8], _ value: UInt16, _ at: Int) {
    bytes[at] = UInt8(truncatingIfNeeded: value >> 8)
    bytes[at + 1] = UInt8(truncatingIfNeeded: value)
  }

  private func word(_ bytes: UnsafeRawBufferPointer, _ at: Int) -> UInt32 {
    UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
  }

  func portReady(_ events: PortEvents) {
    while true {
      let frames = network.receive(upTo: .max)
      if frames.isEmpty { return }
      var owes = false
      for frame in frames { owes = take(frame) || owes }
      var batch: [Frame] = []
      if isUp {
        while isEstablished, sent < total, batch.count < 64,
          Int(next &- acknowledged) + segment <= window
        {
          batch.append(self.frame(0x18, segment))
          sent += segment
        }
        if sent >= total, acknowledged == next { return isDone.signal() }
      } else {
        if received >= total { return isDone.signal() }
      }
      if batch.isEmpty, owes { batch.append(self.frame(0x10, 0)) }
      if !batch.isEmpty { _ = network.send(batch) }
    }
  }

  private func take(_ frame: Frame) -> Bool {
    frame.slice.withUnsafeBytes { bytes in
      guard bytes.count >= 54, bytes[23] == 6 else { return false }
      let header = Int(bytes[46] >> 4) * 4
      let flags = bytes[47]
      if flags & 4 != 0 { fatalError("reset") }
      acknowledged = word(bytes, 42)
      window = Int(word(bytes, 48) >> 16) << scale
      if flags & 2 != 0 {
        receivedNext = word(bytes, 38) &+ 1
        scale = isNarrow ? 0 : 4
        isEstablished = true
        return true
      }
      let length = bytes.count - 34 - header
      guard length > 0 else { return false }
      if word(bytes, 38) == receivedNext {
        receivedNext &+= UInt32(length)
        received += length
        frames += 1
      }
      return true
    }
  }
}

/// Guest time that is the host's.
final class HostTime: VMClock {
  private let loop: EventLoop
  init(_ loop: EventLoop) { self.loop = loop }
  var now: VMInstant { VMInstant(nanoseconds: HostClock.now.nanoseconds) }
  let epoch: Int64 = 0
  let starts: UInt64 = 1

  private final class HostAlarm: Alarm {
    private let timer: HostOS.Timer
    init(_ timer: HostOS.Timer) { self.timer = timer }
    func set(_ deadline: VMInstant?) {
      timer.set(deadline.map { HostInstant(nanoseconds: $0.nanoseconds) })
    }
  }

  func makeAlarm(on loop: any Loop, _ ring: @escaping @Sendable () -> Void) -> any Alarm {
    HostAlarm(self.loop.makeTimer(ring))
  }
}
