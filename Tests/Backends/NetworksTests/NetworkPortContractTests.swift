import HostOS
import Kit
import Networks
import Testing
import Work

extension NetworkPortContract {
  static let cable = NetworkPortContract(testDescription: "Cable") { _ in
    let cable = Cable(depth: 32)
    return Pair(near: cable.left, far: cable.right)
  }

  static let stream = NetworkPortContract(testDescription: "StreamPort") { loop in
    let path = temporaryPath("contract")
    let clock = ManualClock()
    let far = try StreamPort(path: path, .listen, on: loop, clock: clock)
    let near = try StreamPort(path: path, .connect(Reconnection()), on: loop, clock: clock)
    guard eventually({ far.isConnected }) else { throw HostError("be called", code: 0) }
    return Pair(near: near, far: far)
  }

  static let capture = NetworkPortContract(testDescription: "CapturePort") { _ in
    let cable = Cable(depth: 32)
    let path = temporaryPath("contract.pcapng")
    let file = try CaptureFile(path: path, interface: "net0") { 0 }
    return Pair(
      near: CapturePort(cable.left, to: file), far: CapturePort(cable.right, to: file))
  }
}

@Suite struct `Network ports` {
  @Test(arguments: [NetworkPortContract.cable, .stream, .capture])
  func `a port keeps its promises`(_ contract: NetworkPortContract) throws {
    #expect(try contract.check() == [])
  }

  @Test func `an unplugged cable takes everything and gives nothing`() {
    let port = NullPort()
    #expect(port.send([Sample.numbered(0), Sample.numbered(1)]) == 2)
    #expect(port.receive(upTo: 10).isEmpty)
  }

  @Test func `a full cable tells when it has room`() {
    let loop = ManualLoop()
    let cable = Cable(depth: 4)
    let left = PortTester(cable.left, on: loop)
    let right = PortTester(cable.right, on: loop, batch: 1)
    #expect(cable.left.send((0..<6).map { Sample.numbered($0) }) == 4)
    #expect(left.roomCame == 0)
    loop.run()
    #expect(left.roomCame == 1)
    #expect(right.received.count == 4)
  }

  @Test func `frames that came before a user are told to it`() {
    let loop = ManualLoop()
    let cable = Cable()
    #expect(cable.left.send([Sample.numbered(0)]) == 1)
    let right = PortTester(cable.right, on: loop)
    loop.run()
    #expect(right.received.count == 1)
  }

  @Test func `an end that finishes frames itself is given them as they are`() {
    let loop = ManualLoop()
    let cable = Cable()
    let right = PortTester(cable.right, on: loop)
    cable.right.accept([.checksum, .segmentTCPv4])
    let long = Sample.tcp(.init(payload: Sample.payload(20_000), segmentSize: 1400))
    #expect(cable.left.send([long]) == 1)
    loop.run()
    #expect(right.received.map(\.bytes) == [long.bytes])
    #expect(right.received.first?.unfinished == long.unfinished)
  }
}
