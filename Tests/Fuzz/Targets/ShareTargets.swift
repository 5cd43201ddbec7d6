import HostOS
import Shares

extension FuzzTarget {
  static let shares = [
    share("fuse", begin: fuseBeginning, frame: fuseFrame) { plan throws(HostError) in
      try FUSEServer(plan)
    },
    share("nine-p-server", begin: ninePBeginning, frame: ninePFrame) { plan throws(HostError) in
      try NinePServer(plan)
    },
  ]

  /// A server of an empty folder, and a client that sends what a script says. All that it opened is closed at the end,
  /// and nothing outside the folder was touched.
  private static func share(
    _ name: String, begin: @escaping @Sendable () -> [[UInt8]],
    frame: @escaping @Sendable (inout Script) -> [UInt8],
    _ make: @escaping @Sendable (SharePlan) throws(HostError) -> any Share
  ) -> FuzzTarget {
    FuzzTarget(name) { input in
      var script = Script(input)
      let folder = ScratchFolder()
      serve(&script, folder, begin, frame, make)
      require(folder.openDescriptors == 0, "a server that is gone has nothing open")
      require(folder.isContained, "nothing changes outside of a share")
      folder.remove()
    }
  }

  private static func serve(
    _ script: inout Script, _ folder: ScratchFolder, _ begin: () -> [[UInt8]],
    _ frame: (inout Script) -> [UInt8],
    _ make: (SharePlan) throws(HostError) -> any Share
  ) {
    var plan = SharePlan(path: folder.path, limit: 40)
    let flags = script.byte()
    plan.isReadOnly = flags & 1 != 0
    plan.ownership = flags & 2 != 0 ? .fixed(user: 7, group: 7) : .host
    guard var server = try? make(plan) else { fatalError("The folder cannot be shared.") }
    if flags & 4 == 0 { for frame in begin() { _ = server.answer(frame, room: 200) } }
    while !script.isAtEnd {
      let size = script.byte()
      if size == 0xfe {
        server.reset()
      } else if size == 0xff {
        // Moves on, as in another process.
        guard let saved = try? server.save(), let next = try? make(plan) else { continue }
        do throws(ShareError) { try next.restore(saved) } catch {
          fatalError("Broken: a server takes what it saved: \(error)")
        }
        server = next
      } else {
        let room = size & 0x80 == 0 ? 4096 : Int(size & 0x7f)
        let answer = server.answer(frame(&script), room: room)
        require(answer.count <= room, "an answer is no longer than the room for it")
        require(answer.isEmpty || length(answer) == answer.count, "an answer says how long it is")
      }
    }
  }

  private static func length(_ answer: [UInt8]) -> Int {
    answer.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  // MARK: - Frames

  private static let names = [
    "a", "b", "c", "..", ".", "", "a/b", "/etc/passwd", "../x", "user.x", "security.capability",
    "\u{0}", String(repeating: "n", count: 255), String(repeating: "n", count: 256),
    "9P2000.L", "link",
  ]

  private static func word(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
  }

  /// Fields one behind the other, each by a byte that says what it is and what follows.
  private static func body(_ script: inout Script) -> [UInt8] {
    var body: [UInt8] = []
    for _ in 0..<24 {
      switch script.byte() & 15 {
      case 0: return body
      case 1: body += word(UInt64(script.byte() & 15), 8)
      case 2: body += word(UInt64(script.byte() & 15), 4)
      case 3: body += word(UInt64(script.byte()), 2)
      case 4: body.append(script.byte())
      case 5: body += Array(names[script.pick(names.count)].utf8) + [0]
      case 6:
        let name = Array(names[script.pick(names.count)].utf8)
        body += word(UInt64(name.count), 2) + name
      case 7: body += [UInt8](repeating: 0, count: Int(script.byte() & 63))
      case 8: body += word(script.value(), 8)
      case 9: body += word(script.value(), 4)
      case 10: body += word(UInt64(script.number(UInt16.self)), 4)
      case 11:
        let piece = script.piece()
        body += word(UInt64(piece.count), 4) + piece
      default: body += script.piece()
      }
    }
    return body
  }

  /// `struct fuse_in_header` and a body; now and then, anything.
  private static func fuseFrame(_ script: inout Script) -> [UInt8] {
    let opcode = script.byte()
    if opcode == 0xff { return spared(script.piece()) }
    let node = UInt64(script.byte() & 15)
    let body = body(&script)
    return spared(
      word(UInt64(40 + body.count), 4) + word(UInt64(opcode), 4) + word(1, 8) + word(node, 8)
        + word(0, 16) + body)
  }

  /// The host would grant a guest all of its room, so FUSE_FALLOCATE is held to a megabyte.
  private static func spared(_ frame: [UInt8]) -> [UInt8] {
    guard frame.count >= 64, frame[4] == 43 else { return frame }
    var frame = frame
    frame.replaceSubrange(58..<64, with: [0, 0, 0, 0, 0, 0])
    return frame
  }

  private static func ninePFrame(_ script: inout Script) -> [UInt8] {
    let type = script.byte()
    if type == 0xff { return script.piece() }
    let tag = UInt64(script.byte() & 3)
    let body = body(&script)
    return word(UInt64(7 + body.count), 4) + [type] + word(tag, 2) + body
  }

  /// FUSE_INIT, version 7.38.
  private static func fuseBeginning() -> [[UInt8]] {
    [
      word(104, 4) + word(26, 4) + word(1, 8) + word(0, 24) + word(7, 4) + word(38, 4)
        + word(0x10000, 4) + word(0xffff_ffff, 4) + word(0, 48)
    ]
  }

  /// Tversion, and Tattach of fid 0.
  private static func ninePBeginning() -> [[UInt8]] {
    let version = Array("9P2000.L".utf8)
    return [
      word(21, 4) + [100, 0xff, 0xff] + word(8192, 4) + word(8, 2) + version,
      word(23, 4) + [104, 0, 0] + word(0, 4) + word(0xffff_ffff, 4) + word(0, 2) + word(0, 2)
        + word(0, 4),
    ]
  }
}
