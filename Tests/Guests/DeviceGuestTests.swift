import Foundation
import HostOS
import Kit
import Monitor
import Synchronization
import Testing

/// Linux uses the devices that a user can ask for: the guest says what it found, and the host looks at what came of it.
extension MachineTests.DeviceGuestTests {
  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing), arguments: [1, 2])
  func `Linux writes, reads and discards on disks of every kind`(processors: Int) async throws {
    let folder = try Folder()
    let content = folder.chance(1 << 20)
    let (pci, mmio) = (try folder.add("pci.raw", content), try folder.add("mmio.raw", content))
    let beneath = try folder.add("beneath.raw", content)
    let fixed = try folder.add("fixed.raw", content)
    let run = try await run(
      "disk", processors: processors,
      try [
        "path=\(pci),serial=A1", "path=\(beneath),overlay=memory", "path=\(fixed),readonly=on",
        "path=\(mmio),bus=mmio,cache=direct",
      ].map { .disk(try DiskRequest(parsing: $0)) })
    #expect(run.text.contains("disk vda has 1048576 bytes, serial A1, write back"), "\(run.end)")
    for (name, path) in [("vda", pci), ("vdd", mmio)] {
      let bytes = try folder.read(path)
      #expect(run.text.contains("disk \(name) ends as \(try folder.sum(bytes))"), "\(run.end)")
      #expect(bytes != content)
      #expect(bytes[(256 << 10)..<(512 << 10)].allSatisfy { $0 == 0 })
    }
    // What was discarded takes no room on the host.
    #expect(try folder.blocks(of: pci) < 2048)
    #expect(run.text.contains("vdb in quarters is right"), "\(run.end)")
    #expect(run.text.contains("vdc ends as \(try folder.sum(content))"), "\(run.end)")
    #expect(try folder.read(beneath) == content && folder.read(fixed) == content)
  }

  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing), arguments: [1, 2])
  func `Linux speaks through the user network`(processors: Int) async throws {
    let folder = try Folder()
    let content = folder.chance(2 << 20)
    let received = Mutex<[UInt8]>([])
    let sender = try HostServer { $0.send(content) }
    let receiver = try HostServer { caller in
      let bytes = caller.receive()
      caller.send(Array("\(bytes.count)\n".utf8))
      received.withLock { $0 = bytes }
    }
    _ = try folder.add("boot.img", content)
    let card = try NetworkRequest(
      parsing: "user,host-loopback=on,tftp=\(folder.path),bus=\(processors == 1 ? "pci" : "mmio")")
    let run = try await run(
      "net", processors: processors, words: "roost.ports=\(sender.port),\(receiver.port)",
      [.network(card, forwards: [])])
    for way in ["downloaded", "read"] {
      #expect(run.text.contains("net \(way) \(try folder.sum(content))"), "\(run.end)")
    }
    #expect(received.withLock { $0 } == content)
  }

  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing), arguments: [1, 2])
  func `Linux works in a folder of the host's, and speaks at a console`(
    processors: Int
  ) async throws {
    let folder = try Folder()
    _ = try folder.add("from-host", Array("words of the host\n".utf8))
    let console = RecordingStream()
    let speaker = Task {
      await console.hears("ROOST-CONSOLE: says the guest\n")
      console.deliver(Array("says the host\n".utf8))
      await console.hears("ROOST-CONSOLE: end\n")
      console.deliver(Array("heard it all\n".utf8))
    }
    defer { speaker.cancel() }
    let run = try await run(
      "share,console", processors: processors,
      [
        .share(try ShareRequest(parsing: "path=\(folder.path),tag=data")), .console, .entropy,
      ], console: console)
    let names = try folder.names.sorted()
    let renamed = try folder.read("\(folder.path)/folder/renamed")
    #expect(run.text.contains("share renamed is \(try folder.sum(renamed))"), "\(run.end)")
    #expect(renamed.count == (1 << 20) + 4)
    #expect(
      names
        == [
          "folder", "folder/full", "folder/full/file", "folder/link", "folder/renamed", "from-host",
        ])
    let said = String(decoding: console.sent, as: UTF8.self).split(separator: "\n").map(String.init)
    let numbers = (1...5000).map(String.init)
    #expect(said == ["ROOST-CONSOLE: says the guest"] + numbers + ["ROOST-CONSOLE: end"])
  }

  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing))
  func `Linux takes a disk that is plugged in, and lets it go when it is asked`() async throws {
    let folder = try Folder()
    let path = try folder.add("disk.raw", folder.chance(2 << 20))
    var machine = GuestMachine(memory: 128 << 20)
    machine.pci.ports = try [
      "id=rp0", "id=rp1", "id=rp2,slot=20", "id=dp0,bus=sw0", "id=dp1,bus=sw0",
    ].map(PCIPortRequest.init(parsing:))
    machine.pci.switches = [try PCISwitchRequest(parsing: "id=sw0,bus=rp2")]
    machine.meanwhile = { machine, host, serial in
      for (round, port) in [("first", "rp1"), ("second", "dp1")] {
        let request = DeviceRequest.disk(try DiskRequest(parsing: "path=\(path),bus=\(port)"))
        await serial.hears("waits for the \(round) disk", in: 1)
        let name = try await machine.plug(request, host).name
        await serial.hears("hotplug wrote", in: round == "first" ? 1 : 2)
        try await machine.unplug(name)
        while !Task.isCancelled, await machine.inspect("devices/\(name)") != nil {
          try? await Task.sleep(for: .milliseconds(10))
        }
      }
    }
    let run = try await machine.run(
      LinuxFiles.kernel("quiet no_timer_check roost.test=hotplug"))
    #expect(run.reason == .poweredOff, "\(run.end)")
    #expect(run.text.contains("hotplug slot 20 is at") == false, "\(run.text)")
    #expect(run.text.contains("hotplug slot 2 is at 0000:05:00, power 0"), "\(run.text)")
    #expect(run.text.contains("ROOST-TEST: hotplug ends with status 0"), "\(run.text)")
    let written = try folder.sum(Array(folder.read(path).prefix(1 << 20)))
    #expect(run.text.contains("hotplug wrote \(written)"), "\(run.end)")
  }

  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing))
  func `Linux works on disks behind ports and switches, saved at any moment`() async throws {
    let folder = try Folder()
    let disks = try ["rp0", "dp0"].map { port in
      let path = try folder.add("\(port).raw", folder.chance(1 << 20))
      return DeviceRequest.disk(try DiskRequest(parsing: "path=\(path),bus=\(port)"))
    }
    var machine = GuestMachine(memory: 128 << 20, devices: disks)
    machine.pci.ports = try ["id=rp0", "id=rp1", "id=dp0,bus=sw0", "id=dp1,bus=sw0"].map(
      PCIPortRequest.init(parsing:))
    machine.pci.switches = [try PCISwitchRequest(parsing: "id=sw0,bus=rp1")]
    let moments = (0..<3).map { _ in Duration.milliseconds(Int.random(in: 50...2500)) }
    let run = try await machine.run(
      LinuxFiles.kernel("quiet no_timer_check roost.test=disk"), savedAfter: moments)
    #expect(run.reason == .poweredOff, "saved after \(moments):\n\(run.end)")
    #expect(
      run.text.contains("ROOST-TEST: disk ends with status 0"),
      "saved after \(moments):\n\(run.text)")
    for (name, port) in [("vda", "rp0"), ("vdb", "dp0")] {
      let sum = try folder.sum(folder.read("\(folder.path)/\(port).raw"))
      #expect(run.text.contains("disk \(name) ends as \(sum)"), "\(run.end)")
    }
  }

  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing), arguments: [1, 2])
  func `Linux has files on persistent memory, and outlives the loss of its file`(
    processors: Int
  ) async throws {
    let folder = try Folder()
    var content = [UInt8](repeating: 0, count: 8 << 20)
    content.replaceSubrange(0..<18, with: Array("words of the host\n".utf8))
    let path = try folder.add("memory.raw", content)
    let fixed = try folder.add("fixed.raw", [UInt8](repeating: UInt8(ascii: "r"), count: 2 << 20))
    var machine = GuestMachine(
      processors: processors, memory: 128 << 20,
      devices: try ["path=\(path)", "path=\(fixed),readonly=on"].map {
        .pmem(try PmemRequest(parsing: $0))
      })
    machine.losesSomething = true
    let found = Mutex<[UInt8]>([])
    machine.meanwhile = { _, _, serial in
      await serial.hears("waits for the cut", in: 1)
      let bytes = try folder.read(path)
      found.withLock { $0 = bytes }
      try StorageFile.open(path, .writable).resize(to: 2 << 20)
    }
    let run = try await machine.run(LinuxFiles.kernel("quiet no_timer_check roost.test=pmem"))
    #expect(run.reason == .poweredOff, "\(run.end)")
    #expect(run.text.contains("ROOST-TEST: pmem has 16384 sectors, dax 1"), "\(run.text)")
    #expect(run.text.contains("ROOST-TEST: pmem ends with status 0"), "\(run.text)")
    let sum = try folder.sum(found.withLock { $0 })
    #expect(run.text.contains("and all of it is \(sum)"), "\(run.text)")
    #expect(try folder.read(fixed).allSatisfy { $0 == UInt8(ascii: "r") })
  }

  /// Boots with the devices, and expects that the guest finds all of its tests right.
  private func run(
    _ tests: String, processors: Int, words: String = "", _ devices: [DeviceRequest],
    console: RecordingStream = RecordingStream()
  ) async throws -> GuestMachine.Run {
    let machine = GuestMachine(
      processors: processors, memory: 128 << 20, devices: devices, console: console)
    let run = try await machine.run(
      LinuxFiles.kernel("quiet no_timer_check roost.test=\(tests) \(words)"))
    #expect(run.reason == .poweredOff, "\(run.end)")
    for test in tests.split(separator: ",") {
      #expect(run.text.contains("ROOST-TEST: \(test) ends with status 0"), "\(run.text)")
    }
    #expect(!run.text.contains("is wrong"), "\(run.text)")
    #expect(!run.text.contains("Call Trace"), "\(run.end)")
    return run
  }
}

extension RecordingStream {
  /// Waits until `text` came so many times, or the task is cancelled.
  fileprivate func hears(_ text: String, in times: Int) async {
    while !Task.isCancelled, String(decoding: sent, as: UTF8.self).ranges(of: text).count < times {
      try? await Task.sleep(for: .milliseconds(10))
    }
  }

  /// Waits until `text` came, or the task is cancelled.
  fileprivate func hears(_ text: String) async {
    let bytes = Array(text.utf8)
    while !Task.isCancelled, !sent.ends(in: bytes) {
      try? await Task.sleep(for: .milliseconds(10))
    }
  }
}

extension [UInt8] {
  fileprivate func ends(in bytes: [UInt8]) -> Bool { suffix(bytes.count).elementsEqual(bytes) }
}
