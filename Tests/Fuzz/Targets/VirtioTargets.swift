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
