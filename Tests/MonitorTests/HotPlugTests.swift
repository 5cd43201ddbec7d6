import Monitor
import SavedState
import Testing

/// Devices that come and go while the machine runs. PCIe 6.0 §6.7 "PCI Express Hot-Plug Support".
struct HotPlugTests {
  private static let block: UInt32 = 0x1042_1af4
  private static let pressed: UInt32 = 0x01, present: UInt32 = 0x40

  private func disk(_ rig: HotPlugRig, _ rest: String) throws -> DeviceRequest {
    .disk(try DiskRequest(parsing: "path=\(rig.path("1.raw")),\(rest)"))
  }

  /// Lets disk0 go, so that rp0 is empty.
  private func emptySlot(_ rig: HotPlugRig) async throws {
    try await rig.machine.start()
    await rig.number(.rp0)
    try await rig.machine.unplug("disk0")
    #expect(await rig.status(.rp0) & Self.pressed != 0)
    await rig.setPower(.rp0, isOn: false)
    #expect(await eventually { rig.departed.names == ["disk0"] })
    #expect(await rig.status(.rp0) & Self.present == 0)
  }

  @Test func `a device that was asked for leaves when the guest takes its power away`() async throws
  {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    try await rig.machine.start()
    await rig.number(.rp0)
    #expect(await rig.identity(behind: .rp0) == Self.block)
    try await rig.machine.unplug("disk0")
    #expect(await rig.identity(behind: .rp0) == Self.block)
    #expect(await rig.machine.inspect("devices/disk0") != nil)
    await rig.setPower(.rp0, isOn: false)
    #expect(await rig.identity(behind: .rp0) == .max)
    #expect(await eventually { !rig.departed.names.isEmpty })
    #expect(await rig.machine.inspect("devices/disk0") == nil)
    await rig.end()
  }

  @Test func `nobody keeps an image that has left, so that it can come again`() async throws {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    try await emptySlot(rig)
    try rig.departed.close()
    // It would be locked by the one that left.
    let opened = try await rig.machine.plug(
      .disk(DiskRequest(parsing: "path=\(rig.path("0.raw")),bus=rp0")), rig.host)
    #expect(opened.name == "disk0")
    await rig.end()
  }

  @Test func `a network that has left gives its ports of the host back`() async throws {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    try await rig.machine.start()
    let request = DeviceRequest.network(
      try NetworkRequest(parsing: "user,bus=dp0"),
      forwards: [try PortForward(parsing: "\(Int.random(in: 20000..<32000)):22")])
    for _ in 0..<3 {
      let name = try await rig.machine.plug(request, rig.host).name
      try await rig.machine.unplug(name, asks: false)
      try rig.departed.close()
    }
    await rig.end()
  }

  @Test func `a device that comes has power when the guest gives it`() async throws {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    try await emptySlot(rig)
    _ = try await rig.machine.plug(disk(rig, "bus=rp0"), rig.host)
    #expect(await rig.status(.rp0) & (Self.pressed | Self.present) == Self.pressed | Self.present)
    #expect(await rig.identity(behind: .rp0) == .max)
    await rig.setPower(.rp0, isOn: true)
    #expect(await rig.identity(behind: .rp0) == Self.block)
    #expect(await rig.machine.inspect("devices/disk0/pci") != nil)
    #expect(
      await rig.machine.inspect("devices/pci-port-rp0/slot")?.contains("occupied  true") == true)
    await rig.end()
  }

  @Test func `a device that is pulled out is gone at once`() async throws {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    try await rig.machine.start()
    await rig.number(.rp0)
    try await rig.machine.unplug("disk0", asks: false)
    #expect(rig.departed.names == ["disk0"])
    #expect(await rig.identity(behind: .rp0) == .max)
    #expect(await rig.status(.rp0) & Self.present == 0)
    await rig.end()
  }

  @Test func `what cannot come or go is refused with a sentence`() async throws {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    await #expect(throws: MachineNotOn.self) { try await rig.machine.unplug("disk0") }
    try await rig.machine.start()
    for (rest, sentence) in [
      ("bus=pci", "goes into a port's slot"), ("bus=rp7", "no PCI port of that name"),
      ("bus=rp1", "while the machine runs"), ("bus=rp2", "while the machine runs"),
      ("bus=rp0", "a device in this port's slot"),
    ] {
      let error = await #expect(throws: ConfigurationError.self) {
        try await rig.machine.plug(disk(rig, rest), rig.host)
      }
      #expect(error?.reason.contains(sentence) == true, "\(rest): \(error?.reason ?? "")")
    }
    for (name, sentence) in [("entropy0", "no slot"), ("disk7", "no such device"), ("", "no such")]
    {
      let error = await #expect(throws: ConfigurationError.self) {
        try await rig.machine.unplug(name)
      }
      #expect(error?.reason.contains(sentence) == true)
    }
    // The disk's file is in use by disk0: it was opened to be written.
    await #expect(throws: ConfigurationError.self) {
      try await rig.machine.plug(
        .disk(DiskRequest(parsing: "path=\(rig.path("0.raw")),bus=dp0")), rig.host)
    }
    #expect(await rig.machine.inspect("devices/disk1") == nil)
    await rig.end()
  }

  @Test func `a reset gives power to what is in the slots, and forgets what was asked`()
    async throws
  {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    try await emptySlot(rig)
    _ = try await rig.machine.plug(disk(rig, "bus=rp0"), rig.host)
    await rig.machine.reset()
    await rig.number(.rp0)
    #expect(await rig.identity(behind: .rp0) == Self.block)
    try await rig.machine.unplug("disk0")
    await rig.machine.reset()
    await rig.number(.rp0)
    await rig.setPower(.rp0, isOn: false)
    #expect(await rig.status(.rp0) & Self.present != 0)
    await rig.end()
  }

  @Test func `devices come and go while the machine is paused`() async throws {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    try await rig.machine.start()
    await rig.machine.pause()
    try await rig.machine.unplug("disk0", asks: false)
    _ = try await rig.machine.plug(disk(rig, "bus=rp0"), rig.host)
    await rig.machine.resume()
    await rig.number(.rp0)
    #expect(await rig.status(.rp0) & Self.present != 0)
    await rig.setPower(.rp0, isOn: true)
    #expect(await rig.identity(behind: .rp0) == Self.block)
    await rig.end()
  }

  @Test func `a saved machine has the devices that it had then, by the names they had`()
    async throws
  {
    let rig = try HotPlugRig()
    defer { rig.removeFiles() }
    let (path, again) = (rig.path("saved"), rig.path("again"))
    try await rig.machine.start()
    let second = try await rig.machine.plug(disk(rig, "bus=dp0,readonly=on"), rig.host)
    #expect(second.name == "disk1")
    await rig.number(.rp0)
    try await rig.machine.unplug("disk0")
    await rig.setPower(.rp0, isOn: false)
    // Whether or not the machine has forgotten it yet: the guest has.
    try await rig.machine.save(to: path)
    let saved = try Snapshot(path: path)
    #expect(saved.shape.deviceNames == ["entropy0", "disk1"])
    #expect(saved.shape.devices == [.entropy, try disk(rig, "bus=dp0,readonly=on")])
    #expect(!saved.tree.parts.contains { $0.name == "disk0" })
    #expect(saved.tree.parts.contains { $0.name == "pci-switch-sw0" })
    await rig.end()

    let restored = try HotPlugRig(restoring: path, folder: rig.place)
    try await restored.machine.start()
    try await restored.machine.save(to: again)
    let twice = try Snapshot(path: again)
    #expect(twice.shape == saved.shape)
    #expect(twice.tree.parts.map(\.name) == saved.tree.parts.map(\.name))
    #expect(
      twice.tree.parts.filter { $0.name.hasPrefix("pci-port") }
        == saved.tree.parts.filter { $0.name.hasPrefix("pci-port") })
    try await restored.machine.unplug("disk1", asks: false)
    #expect(restored.departed.names == ["disk1"])
    await restored.end()
  }
}
