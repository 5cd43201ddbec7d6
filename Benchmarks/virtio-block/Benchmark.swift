import Board
import Disks
import Glibc
import HostOS
import Kit
import Memory
import PCI
import Virtio
import Work

/// How many requests a second virtio-blk answers to a driver in this process, and what of the host's processor time each
/// costs: the device, its loop, the disk and the host's kernel, and not the driver.
///
/// usage: IMAGE raw|qcow2 read|write DEPTH COUNT [direct]; a depth of 85 at most
///
/// Requests of 4 KiB go one behind the other, by a split ring of 256 with event indices and by MSI-X; the driver adds as
/// many as were answered and notifies once.
@main struct Benchmark {
  static func main() throws {
    let arguments = CommandLine.arguments
    guard (6...7).contains(arguments.count), let format = ImageFormat(rawValue: arguments[2]),
      ["read", "write"].contains(arguments[3]), let depth = Int(arguments[4]),
      (1...85).contains(depth), let count = Int(arguments[5]), count > 0,
      arguments.count == 6 || arguments[6] == "direct"
    else {
      print("usage: \(arguments[0]) IMAGE raw|qcow2 read|write DEPTH COUNT [direct]")
      exit(64)
    }
    let isWrite = arguments[3] == "write"
    let opener = ImageOpener(
      format: format, writable: isWrite, cache: arguments.count == 7 ? .direct : .writeback)
    let image: any DiskImage
    do {
      image = try opener.open(arguments[1])
    } catch {
      print("\(error)")
      exit(1)
    }
    let pool = try WorkerPool(name: "disk", limit: 16)
    let loop = try EventLoop(name: "block")
    let machine = Machine(QueuedDisk(image, pool: pool), loop)
    guard machine.begin() else {
      print("The device refused the driver.")
      exit(1)
    }
    let driver = BlockDriver(machine.driver, sectors: image.size / 512, isWrite: isWrite)
    let before = (HostClock.now, timeUsed())
    let failures = driver.run(count, depth: depth, interrupt: machine.interrupt)
    let after = (HostClock.now, timeUsed())
    let seconds = Double(after.0.nanoseconds - before.0.nanoseconds) / 1e9
    let rate = Int(Double(count) / seconds)
    let cost = (after.1 - before.1) / Double(count) * 1e6
    print(
      "virtio-blk \(arguments[2...].joined(separator: " ")): \(rate) requests a second, "
        + "\((cost * 10).rounded() / 10) us of processor time each, \(failures) failed")
    exit(failures == 0 ? 0 : 1)
  }

  /// Seconds of processor time of this process, without this thread, which is the driver.
  static func timeUsed() -> Double {
    seconds(CLOCK_PROCESS_CPUTIME_ID) - seconds(CLOCK_THREAD_CPUTIME_ID)
  }

  private static func seconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}

/// As much of a machine as the device needs.
struct Machine {
  let driver: GuestDriver
  let interrupt = InterruptEvent()
  private let guest: GuestPCI
  private let loop: EventLoop
  private let card: VirtioPCI

  init(_ disk: any Disk, _ loop: EventLoop) {
    self.loop = loop
    let memory = try! GuestMemory([.init(start: GPA(0), count: 16 << 20)])
    let bus = IOBus(wideAccess: .refuse)
    let root = PCIRoot(
      ports: IOBus(wideAccess: .split), registers: bus, messages: interrupt,
      interrupts: RecordingController())
    card = VirtioPCI(
      VirtioBlock(disk: disk, queueSize: 256, loop: loop, ownsLoop: true), memory: memory,
      express: .endpoint,
      loop: loop)
    let space = card.configuration
    root.bus.plug(space, device: 1)
    guest = GuestPCI(
      bus: bus, base: 0x8_0000_0000, read: { space.readConfiguration($0) },
      write: { space.writeConfiguration($0, mask: .max, $1) })
    driver = GuestDriver(guest, memory: memory)
    card.start()
    settle()
  }

  /// Agrees on features, and sets the queue up.
  func begin() -> Bool {
    let own: UInt64 = 1 << 6 | 1 << 9
    guard driver.negotiate(GuestDriver.version1 | GuestDriver.eventIndex | own) else {
      return false
    }
    guest.useMessages(queues: 1)
    driver.begin()
    settle()
    return true
  }

  /// Returns when the loop has done what it was given.
  private func settle() {
    let done = Event()
    loop.post { done.signal() }
    done.wait()
  }
}

/// The processor that messages go to.
final class InterruptEvent: MSITarget {
  let event = Event()

  func signal(_ message: MSI, from requester: UInt16) { event.signal() }
}

/// Requests of 4 KiB, one behind the other, and from the disk's start again at its end: VIRTIO 1.3 §5.2.6.
struct BlockDriver {
  private let driver: GuestDriver
  private let area: UInt64
  private let sectors: UInt64
  private let isWrite: Bool
  private static let size = 4096
  /// A request's place in guest memory: its data, its header, its status.
  private static let stride = 8192

  init(_ driver: GuestDriver, sectors: UInt64, isWrite: Bool) {
    self.driver = driver
    self.sectors = sectors / 8 * 8
    self.isWrite = isWrite
    area = driver.allocate(85 * Self.stride, alignment: 4096)
  }

  /// Has `count` requests answered, `depth` of them at a time; answers how many failed.
  func run(_ count: Int, depth: Int, interrupt: InterruptEvent) -> Int {
    let queue = driver.queues[0]
    var places: [UInt16: UInt64] = [:]
    var free = (0..<UInt64(depth)).map { area + $0 * UInt64(Self.stride) }
    var sent = 0
    var answered = 0
    var failures = 0
    while answered < count {
      while sent < count, let place = free.popLast() {
        send(UInt64(sent), at: place, queue).map { places[$0] = place }
        sent += 1
      }
      queue.kick()
      if !queue.wantInterrupts(true) { interrupt.event.wait() }
      while let used = queue.take() {
        guard let place = places.removeValue(forKey: used.token) else { continue }
        if driver.bytes(at: place + UInt64(Self.size) + 16, count: 1) != [0] { failures += 1 }
        free.append(place)
        answered += 1
      }
    }
    return failures
  }

  private func send(_ number: UInt64, at place: UInt64, _ queue: GuestQueue) -> UInt16? {
    let sector = number * 8 % sectors
    let header = place + UInt64(Self.size)
    try? driver.memory.store(UInt32(isWrite ? 1 : 0), at: GPA(header))
    try? driver.memory.store(UInt32(0), at: GPA(header + 4))
    try? driver.memory.store(sector, at: GPA(header + 8))
    return queue.add([
      .init(header, 16), .init(place, Self.size, writable: !isWrite),
      .init(header + 16, 1, writable: true),
    ])
  }
}
