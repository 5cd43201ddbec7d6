import Monitor
import Testing

/// Ports and switches as the user asks for them.
struct PCITopologyTests {
  private func topology(_ ports: [String], _ switches: [String] = []) throws -> PCITopology {
    PCITopology(
      ports: try ports.map { try PCIPortRequest(parsing: $0) },
      switches: try switches.map { try PCISwitchRequest(parsing: $0) })
  }

  /// What is wrong with a machine of these; empty: nothing.
  private func refusal(
    _ ports: [String], _ switches: [String] = [], disks: [String] = []
  ) throws -> String {
    var configuration = Rig.configuration()
    configuration.pci = try topology(ports, switches)
    configuration.devices = try disks.map {
      .disk(try DiskRequest(parsing: "path=a.raw,bus=\($0)"))
    }
    do throws(ConfigurationError) {
      _ = try PCShape(configuration)
      return ""
    } catch {
      return error.description
    }
  }

  @Test func `a port has all that was asked for`() throws {
    let port = try PCIPortRequest(parsing: "id=dp-1,bus=sw0,slot=9,hotplug=off")
    #expect(port.name == "dp-1" && port.bus == "sw0")
    #expect(port.slot == 9 && port.isHotPluggable == false)
    let bridge = try PCISwitchRequest(parsing: "id=sw0,bus=rp0")
    #expect(bridge.name == "sw0" && bridge.bus == "rp0")
  }

  @Test(arguments: [
    "", "slot=1", "id=", "id=pci", "id=mmio", "id=a b", "id=abcdefghijklmnopqrstu", "id=a,slot=0",
    "id=a,slot=8192", "id=a,hotplug=yes", "id=a,colour=red",
  ])
  func `a port that cannot be is refused`(text: String) {
    #expect(throws: ConfigurationError.self) { try PCIPortRequest(parsing: text) }
  }

  @Test func `devices go behind ports and switches, each into a slot of its own`() throws {
    let ports = ["id=rp0", "id=rp1", "id=dp0,bus=sw0", "id=dp1,bus=sw0"]
    #expect(try refusal(ports, ["id=sw0,bus=rp1"], disks: ["rp0", "dp0", "pci"]) == "")
    #expect(try refusal(ports, ["id=sw0,bus=rp1"], disks: ["rp1"]).contains("a switch in this"))
    #expect(try refusal(["id=rp0"], disks: ["rp0", "rp0"]).contains("Two devices"))
    #expect(try refusal(["id=rp0"], disks: ["rp1"]).contains("no port of that name"))
  }

  @Test func `names, slots and places belong to one`() throws {
    #expect(try refusal(["id=a", "id=a"]).contains("this name"))
    #expect(try refusal(["id=a", "id=b"], ["id=a,bus=b"]).contains("this name"))
    #expect(try refusal(["id=a,slot=3", "id=b,slot=3"]).contains("this slot"))
    #expect(
      try refusal(["id=a"], ["id=s,bus=a", "id=t,bus=a"]).contains("Two switches"))
    #expect(try refusal(["id=a"], ["id=s,bus=b"]).contains("no port of that name"))
    #expect(try refusal(["id=a,bus=s"]).contains("no switch of that name"))
    #expect(try refusal(["id=a,hotplug=on"], ["id=s,bus=a"]).contains("stays there"))
    #expect(try refusal((0..<31).map { "id=p\($0)" }).contains("ask for fewer"))
    #expect(
      try refusal(["id=r"] + (0..<33).map { "id=p\($0),bus=s" }, ["id=s,bus=r"])
        .contains("A switch has 32"))
  }

  @Test func `switches behind themselves are refused, and behind each other are not`() throws {
    let ring = ["id=a,bus=t", "id=b,bus=s"]
    #expect(try refusal(ring, ["id=s,bus=a", "id=t,bus=b"]).contains("behind itself"))
    #expect(try refusal(["id=a,bus=s"], ["id=s,bus=a"]).contains("behind itself"))
    let chain = ["id=r"] + (0..<20).map { "id=d\($0),bus=s\($0)" }
    let switches = ["id=s0,bus=r"] + (1..<20).map { "id=s\($0),bus=d\($0 - 1)" }
    #expect(try refusal(chain, switches, disks: ["d19"]) == "")
  }
}
