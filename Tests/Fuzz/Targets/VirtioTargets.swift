import Board
import Kit
import Memory
import Networks
import Streams
import Virtio
import Work

extension FuzzTarget {
  static let virtio: [FuzzTarget] = [
    virtio("virtqueue") { loop in
      let echo = EchoDevice(loop)
      return VirtioBackend(echo, stir: { echo.stir(&$0) }, finish: { echo.finish() })
    },
    virtio("block") { loop in
      let disk = ScriptedDisk()
      return VirtioBackend(
        VirtioBlock(disk: disk, queues: 2, queueSize: 32, loop: loop), stir: { disk.stir(&$0) },
        finish: { disk.finish() })
    },
    virtio("pmem", over: [.mmio, .pci]) { loop in
      let disk = ScriptedDisk()
      let range = GPARange(start: GPA(1 << 32), count: 2 << 20)!
      return VirtioBackend(
        VirtioPersistentMemory(range, flushing: disk, loop: loop), stir: { disk.stir(&$0) },
        finish: { disk.finish() })
    },
    virtio("network") { loop in
      let ports = [ScriptedPort(), ScriptedPort()]
      return VirtioBackend(
        VirtioNetwork(ports: ports, address: [2, 0, 0, 0, 0, 1], queueSize: 32, loop: loop),
        stir: { ports[$0.pick(2)].stir(&$0) })
    },
    virtio("console") { loop in
      let streams = [RecordingStream(), RecordingStream()]
      return VirtioBackend(
        VirtioConsole(
          ports: [.init(streams[0], isConsole: true), .init(streams[1], name: "x")], queueSize: 32,
          loop: loop),
        stir: { script in
          let stream = streams[script.pick(2)]
          if script.flag() {
            stream.deliver(script.piece())
          } else {
            stream.setRoom(Int(script.byte()))
          }
        })
    },
    virtio("balloon") { loop in
      let balloon = VirtioBalloon(loop: loop)
      return VirtioBackend(
        balloon, message: balloonPages,
        stir: { script in
          if script.flag() {
            balloon.requestStatistics()
          } else {
            balloon.setTarget(pages: UInt32(script.byte()))
          }
        })
    },
    virtio("vsock", over: [.mmio, .pci]) { loop in
      let host = ScriptedVsockHost(loop)
      return VirtioBackend(
        VirtioSocket(guestCID: UInt32(guestCID), host: host, limit: 8, queueSize: 32),
        message: socketPacket, stir: { host.stir(&$0) })
    },
    virtio("entropy") { _ in VirtioBackend(VirtioEntropy(source: CountingSource())) },
    virtio("file-system", over: [.mmio, .pci]) { loop in
      let share = ScriptedShare(loop)
      return VirtioBackend(
        VirtioFileSystem(tag: "share", share: share, queueSize: 32, loop: loop),
        stir: { share.stir(&$0) }, finish: { share.finish() })
    },
    virtio("nine-p") { loop in
      let share = ScriptedShare(loop)
      return VirtioBackend(
        VirtioNineP(tag: "share", share: share, queueSize: 32, loop: loop),
        stir: { share.stir(&$0) }, finish: { share.finish() })
    },
  ]

  /// Page numbers (VIRTIO 1.3 §5.5.6), small ones; or anything.
  private static func balloonPages(_ script: inout Script) -> [UInt8] {
    script.flag() ? script.piece() : script.piece().flatMap { [$0, 0, 0, 0] }
  }

  private static let guestCID: UInt64 = 3

  /// A packet of a socket (VIRTIO 1.3 §5.10.6) between one of few ports of each side's; or anything.
  private static func socketPacket(_ script: inout Script) -> [UInt8] {
    let shape = script.byte()
    if shape & 0x80 != 0 { return script.piece() }
    let ports = script.byte()
    let operation = script.byte() & 15
    // Zero is what most packets have there.
    let flags = shape & 1 != 0 ? script.byte() : 0
    let allocation = shape & 2 != 0 ? script.number(UInt32.self) : 1 << 12
    let forwarded = shape & 4 != 0 ? script.number(UInt32.self) : 0
    let data = script.piece()
    let count = shape & 8 != 0 ? script.number(UInt32.self) : UInt32(data.count)
    func bytes(_ value: UInt32) -> [UInt8] {
      (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(8 * $0)) }
    }
    let source = shape & 16 != 0 ? UInt8(script.byte()) : UInt8(guestCID)
    // Those from 0x4000_0000 on call from the host.
    let hostPort: [UInt8] = [ports & 7, 0, 0, ports & 8 != 0 ? 0x40 : 0]
    return [source, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
      + [ports >> 4, 0, 0, 0] + hostPort + bytes(count) + [1, 0, operation, 0] + [flags, 0, 0, 0]
      + bytes(allocation) + bytes(forwarded) + data
  }

  /// A device that lives by a script; the first byte says behind which transport.
  private static func virtio(
    _ name: String, over carriers: [VirtioRig.Carrier] = VirtioRig.Carrier.allCases,
    _ make: @escaping @Sendable (ManualLoop) -> VirtioBackend
  ) -> FuzzTarget {
    FuzzTarget(name) { input in
      weak let memory = live(Script(input), carriers, make)
      require(memory == nil, "nothing is left of a device that is gone")
    }
  }

  /// Answers what all of it hangs on.
  private static func live(
    _ script: Script, _ carriers: [VirtioRig.Carrier],
    _ make: @escaping (ManualLoop) -> VirtioBackend
  ) -> GuestMemory {
    var script = script
    let carrier = carriers[script.pick(carriers.count)]
    let rig = VirtioRig(carrier, make)
    var life = VirtioLife(
      rig,
      twin: { body in
        let twin = VirtioRig(carrier, make)
        body(twin)
        twin.unplug()
      })
    while !script.isAtEnd { life.step(&script) }
    life.end()
    rig.unplug()
    return rig.memory
  }
}
