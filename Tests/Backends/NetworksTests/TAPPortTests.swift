import Glibc
import HostOS
import Kit
import Synchronization
import Testing
import Work

@testable import Networks

/// Whether this process may make tap interfaces and listen at them.
private let mayMakeTAPs: Bool = {
  guard let device = try? TAPDevice(name: freshName()), bringUp(device.name),
    let loop = try? EventLoop(name: "tap")
  else { return false }
  defer { loop.stop() }
  return (try? PacketSocket(interface: device.name, type: 0x88b5, on: loop)) != nil
}()

private let names = Atomic<Int>(0)

private func freshName() -> String {
  "rt\(getpid() % 100_000)x\(names.add(1, ordering: .relaxed).newValue)"
}

@Suite(.enabled(if: mayMakeTAPs, "this user may not make tap interfaces"))
struct `TAP port` {
  private let loop: EventLoop
  private let port: TAPPort
  private let device: TAPDevice

  init() throws {
    loop = try EventLoop(name: "tap")
    device = try TAPDevice(name: freshName())
    try #require(bringUp(device.name))
    port = try TAPPort(device, on: loop)
  }

  @Test func `frames pass both ways, in order and whole`() throws {
    let host = try #require(
      try PacketSocket(interface: device.name, type: 0x88b5, on: loop))
    let near = PortTester(port, on: loop)
    let far = PortTester(host, on: loop)
    let frames = (0..<300).map { Sample.numbered($0, count: 60 + $0) }
    // As many at once as the host keeps for the socket.
    for start in stride(from: 0, to: 300, by: 100) {
      #expect(near.sendAll(Array(frames[start..<start + 100])))
      #expect(far.wait { $0.received.count == start + 100 })
    }
    #expect(far.received.map(\.bytes) == frames.map(\.bytes))
    #expect(far.sendAll(frames))
    #expect(near.wait { $0.experimental.count == 300 })
    #expect(near.experimental.map(\.bytes) == frames.map(\.bytes))
    #expect(port.failure == nil)
  }

  @Test func `a frame that is not taken is told of once, and not lost`() throws {
    let host = try #require(
      try PacketSocket(interface: device.name, type: 0x88b5, on: loop))
    let near = PortTester(port, on: loop)
    let far = PortTester(host, on: loop)
    near.setTaking(false)
    #expect(far.sendAll([Sample.numbered(1)]))
    #expect(near.wait { $0.told > 0 })
    near.setTaking(true)
    near.take()
    #expect(eventually { near.experimental.count == 1 })
    #expect(far.sendAll([Sample.numbered(2)]))
    #expect(near.wait { $0.experimental.count == 2 })
  }

  @Test(arguments: [false, true])
  func `the host is left to cut long segments`(isV6: Bool) throws {
    let host = try #require(
      try PacketSocket(interface: device.name, type: isV6 ? 0x86dd : 0x0800, on: loop))
    let near = PortTester(port, on: loop)
    let far = PortTester(host, on: loop)
    let long = Sample.tcp(
      .init(isV6: isV6, flags: 0x98, payload: Sample.payload(20_000), segmentSize: 1400))
    #expect(near.sendAll([long]))
    #expect(far.wait { $0.received.contains { $0.bytes == long.bytes } })
    #expect(port.statistics.sent == 1 && port.statistics.dropped == 0)
  }

  @Test func `malformed frames are dropped here`() {
    var frames = [Frame([]), Frame([1, 2, 3]), Frame([UInt8](repeating: 0, count: 200_000))]
    var frame = Sample.numbered(1, count: 1000)
    frame.unfinished.checksum = (990, 9)
    frames.append(frame)
    frame = Sample.numbered(1, count: 1000)
    frame.unfinished.segmentSize = 100
    frames.append(frame)
    #expect(port.send(frames) == 5)
    #expect(port.statistics.dropped == 5)
  }

  @Test func `an interface in use is refused with a sentence`() throws {
    let error = #expect(throws: HostError.self) { try TAPDevice(name: device.name) }
    #expect(
      error?.description
        == "cannot use the tap interface \"\(device.name)\": Device or resource busy")
  }

  @Test func `a handle that somebody else attached is as good as a name`() throws {
    let handle = dup(device.handle)
    let same = try TAPDevice(owning: handle)
    #expect(same.name == device.name)
    #expect(same.isUp && same.maximumTransmissionUnit == 1500)
  }

  @Test func `no frame makes it trap`() {
    var chance = Chance(seed: 11)
    for _ in 0..<2000 {
      var frame = Sample.tcp(
        .init(isV6: chance.number(below: 2) == 0, payload: Sample.payload(3000), segmentSize: 1000))
      for _ in 0..<4 {
        let index = Int(chance.number(below: 80))
        frame.bytes[index] = UInt8(truncatingIfNeeded: chance.value())
      }
      frame.unfinished.checksum = (
        Int(truncatingIfNeeded: chance.value()), Int(truncatingIfNeeded: chance.value())
      )
      frame.unfinished.segmentSize = Int(truncatingIfNeeded: chance.value())
      #expect(port.send([frame]) == 1)
    }
  }
}

@Suite struct `TAP headers` {
  @Test func `a name that no interface can have is refused`() {
    let error = #expect(throws: HostError.self) { try TAPDevice(name: "much-too-long-a-name") }
    #expect(error?.code == ENAMETOOLONG)
  }

  @Test func `a handle of something else is refused`() throws {
    let error = #expect(throws: HostError.self) { try TAPDevice(owning: open("/dev/null", O_RDWR)) }
    #expect(error?.description.hasPrefix("cannot use a handle as a tap interface") == true)
  }

  // VIRTIO 1.3 §5.1.6 "Device Operation"
  @Test func `what is unfinished is the same after a round through the header`() throws {
    var frame = Sample.tcp(.init(flags: 0x90, payload: Sample.payload(3000), segmentSize: 1000))
    let header = try #require(TAPDevice.Header(frame))
    #expect(header.segmentation == 0x81 && header.headerLength == 54 && header.flags == 1)
    frame.unfinished.isChecked = true
    #expect(Frame.Unfinished(header) == frame.unfinished)
    #expect(MemoryLayout<TAPDevice.Header>.size == 12)
  }
}

extension PortTester {
  /// What came in and is not the host's own chatter.
  fileprivate var experimental: [Frame] {
    received.filter { $0.bytes[12] == 0x88 && $0.bytes[13] == 0xb5 }
  }
}
