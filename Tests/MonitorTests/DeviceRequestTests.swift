import Monitor
import Testing

struct DeviceRequestTests {
  @Test func `a disk's format comes from its name or from format=, never from elsewhere`() throws {
    #expect(try DiskRequest(parsing: "path=a.qcow2").format == .qcow2)
    #expect(try DiskRequest(parsing: "path=a.raw").format == .raw)
    #expect(try DiskRequest(parsing: "path=a,format=qcow2").format == .qcow2)
    #expect(throws: ConfigurationError.self) { try DiskRequest(parsing: "path=disk") }
  }

  @Test func `a disk has all that was asked for`() throws {
    let disk = try DiskRequest(
      parsing: "path=a,,b.qcow2,overlay=memory,cache=direct,full=wait,serial=A1,queues=4,bus=mmio")
    #expect(disk.path == "a,b.qcow2")
    #expect(disk.overlay == .memory)
    #expect(disk.cache == .direct)
    #expect(disk.full == .wait)
    #expect(disk.serial == "A1")
    #expect(disk.queues == 4)
    #expect(disk.bus == .mmio)
    #expect(!disk.isReadOnly)
  }

  @Test(arguments: [
    "", "path=", "path=a.raw,path=b.raw", "path=a.raw,readonly=yes", "path=a.raw,colour=red",
    "path=a.raw,queues=0", "path=a.raw,queues=65", "path=a.raw,overlay=memory,readonly=on",
    "path=a.raw,", "a.raw", "path=a.raw,full=stop", "path=a.raw,serial=123456789012345678901",
  ])
  func `a disk that cannot be is refused`(text: String) {
    #expect(throws: ConfigurationError.self) { try DiskRequest(parsing: text) }
  }

  @Test func `a network card's cable leads where it was asked to`() throws {
    #expect(try NetworkRequest(parsing: "tap").target == .tap(name: nil))
    #expect(try NetworkRequest(parsing: "tap=tap7").target == .tap(name: "tap7"))
    #expect(
      try NetworkRequest(parsing: "stream=/run/p").target == .stream(path: "/run/p", listens: false)
    )
    let card = try NetworkRequest(
      parsing: "user,mac=52:54:00:12:34:56,allow=*.debian.org+10.0.0.0/8,host-loopback=on")
    #expect(card.mac == 0x5254_0012_3456)
    guard case .user(let network) = card.target else { throw Surprise() }
    #expect(network.allowed == ["*.debian.org", "10.0.0.0/8"])
    #expect(network.reachesHostLoopback)
  }

  struct Surprise: Error {}

  @Test(arguments: [
    "", "user,tap", "tap=a,stream=b", "cable", "user,mac=1:2:3:4:5:6", "user,mac=01:00:00:00:00:01",
    "user,bootfile=x", "tap,allow=a", "user,queues=9", "mac=52:54:00:12:34:56",
  ])
  func `a network card that cannot be is refused`(text: String) {
    #expect(throws: ConfigurationError.self) { try NetworkRequest(parsing: text) }
  }

  @Test func `forwards name ports, and maybe an address and a transport`() throws {
    let plain = try PortForward(parsing: "2222:22")
    #expect(plain.transport == .tcp && plain.hostPort == 2222 && plain.guestPort == 22)
    #expect(plain.address == nil)
    let full = try PortForward(parsing: "[::1]:53:5353/udp")
    #expect(full.transport == .udp && full.address == "::1" && full.guestPort == 5353)
    for text in ["22", "a:22", "0:22", "2222:22/sctp", ":2222:22", "2222:22/tcp/udp", "70000:1"] {
      #expect(throws: ConfigurationError.self) { try PortForward(parsing: text) }
    }
  }

  @Test func `a device is on bus 0, beside PCI, or behind a port`() throws {
    #expect(try DiskRequest(parsing: "path=a.raw").bus == .pci)
    #expect(try DiskRequest(parsing: "path=a.raw,bus=mmio").bus == .mmio)
    #expect(try NetworkRequest(parsing: "user,bus=rp0").bus == .port("rp0"))
    #expect(try ShareRequest(parsing: "path=/srv,tag=a,bus=rp1").bus == .port("rp1"))
    #expect(DeviceRequest.vsock(try VsockRequest(parsing: "cid=7,socket=v")).bus == .pci)
  }

  @Test func `a device for a running machine is written as its option is`() throws {
    #expect(
      try DeviceRequest(parsing: "disk path=a b.raw,bus=rp0")
        == .disk(DiskRequest(parsing: "path=a b.raw,bus=rp0")))
    #expect(
      try DeviceRequest(parsing: "--net user,bus=rp0")
        == .network(NetworkRequest(parsing: "user,bus=rp0"), forwards: []))
    for text in ["", "disk", "balloon", "printer path=a"] {
      #expect(throws: ConfigurationError.self) { try DeviceRequest(parsing: text) }
    }
  }

  @Test func `persistent memory is a file, kept from writes or under a layer of memory`() throws {
    let plain = try PmemRequest(parsing: "path=a,,b.img")
    #expect(plain.path == "a,b.img" && !plain.isReadOnly && plain.overlay == nil)
    #expect(plain.size == nil)
    #expect(try PmemRequest(parsing: "path=a,readonly=on").isReadOnly)
    #expect(try PmemRequest(parsing: "path=a,overlay=memory").overlay == .memory)
    for text in [
      "", "path=", "path=a,overlay=disk", "path=a,readonly=on,overlay=memory", "path=a,bus=rp0",
    ] {
      #expect(throws: ConfigurationError.self) { try PmemRequest(parsing: text) }
    }
  }

  @Test func `shares and sockets are checked`() throws {
    #expect(try ShareRequest(parsing: "path=/srv,tag=data,type=9p").transport == .nineP)
    #expect(try VsockRequest(parsing: "cid=7,socket=v").cid == 7)
    #expect(throws: ConfigurationError.self) { try ShareRequest(parsing: "path=/srv") }
    #expect(throws: ConfigurationError.self) { try VsockRequest(parsing: "cid=2,socket=v") }
  }
}
