import Glibc
import HostOS
import Kit
import Networks
import Synchronization
import Testing
import Work

/// A small reader of pcapng files: blocks, and of packets what is checked here.
private struct CaptureReader {
  struct Packet: Equatable {
    var time: UInt64
    var bytes: [UInt8]
    var flags: UInt32
    var dropped: UInt64
  }
  var types: [UInt32] = []
  var packets: [Packet] = []
  var received: UInt64?
  var dropped: UInt64?
  var resolution: UInt8?
  var interface = ""
  /// Whether every block ends where it says, twice, and all lie on four bytes.
  var isWellFormed = true

  init(_ file: [UInt8]) {
    var offset = 0
    while let type = file.integer(UInt32.self, littleEndianAt: offset) {
      guard let length = file.integer(UInt32.self, littleEndianAt: offset + 4), length % 4 == 0,
        file.integer(UInt32.self, littleEndianAt: offset + Int(length) - 4) == length
      else {
        isWellFormed = false
        return
      }
      types.append(type)
      let body = Array(file[offset + 8..<offset + Int(length) - 4])
      switch type {
      case 1:
        for (code, value) in Self.options(body, 8) {
          if code == 9 { resolution = value[0] }
          if code == 2 { interface = String(decoding: value, as: UTF8.self) }
        }
      case 5:
        for (code, value) in Self.options(body, 12) {
          if code == 4 { received = value.integer(UInt64.self, littleEndianAt: 0) }
          if code == 5 { dropped = value.integer(UInt64.self, littleEndianAt: 0) }
        }
      case 6:
        let high = UInt64(body.integer(UInt32.self, littleEndianAt: 4)!)
        let low = UInt64(body.integer(UInt32.self, littleEndianAt: 8)!)
        let count = Int(body.integer(UInt32.self, littleEndianAt: 12)!)
        var packet = Packet(
          time: high << 32 | low, bytes: Array(body[20..<20 + count]), flags: 0, dropped: 0)
        for (code, value) in Self.options(body, 20 + (count + 3) / 4 * 4) {
          if code == 2 { packet.flags = value.integer(UInt32.self, littleEndianAt: 0)! }
          if code == 4 { packet.dropped = value.integer(UInt64.self, littleEndianAt: 0)! }
        }
        packets.append(packet)
      default: break
      }
      offset += Int(length)
    }
    if offset != file.count { isWellFormed = false }
  }

  private static func options(_ body: [UInt8], _ start: Int) -> [(UInt16, [UInt8])] {
    var result: [(UInt16, [UInt8])] = []
    var offset = start
    while let code = body.integer(UInt16.self, littleEndianAt: offset), code != 0 {
      let length = Int(body.integer(UInt16.self, littleEndianAt: offset + 2)!)
      result.append((code, Array(body[offset + 4..<offset + 4 + length])))
      offset += 4 + (length + 3) / 4 * 4
    }
    return result
  }
}

extension [UInt8] {
  fileprivate func integer<T: FixedWidthInteger>(_: T.Type, littleEndianAt offset: Int) -> T? {
    let size = T.bitWidth / 8
    guard offset + size <= count else { return nil }
    return self[offset..<offset + size].reversed().reduce(0) { $0 << 8 | T($1) }
  }
}

/// Time that is a second later each time somebody looks.
private func countingClock() -> @Sendable () -> UInt64 {
  let time = Atomic<UInt64>(1_700_000_000_000_000_000)
  return { time.add(1_000_000_001, ordering: .relaxed).oldValue }
}

@Suite struct Capture {
  @Test func `the file has what passed, when, and which way`() throws {
    let path = temporaryPath("capture.pcapng")
    defer { unlink(path) }
    let file = try CaptureFile(path: path, interface: "net0", clock: countingClock())
    let loop = ManualLoop()
    let cable = Cable()
    let port = CapturePort(cable.left, to: file)
    let guest = PortTester(port, on: loop)
    #expect(port.send([Sample.numbered(0), Sample.numbered(1, count: 61)]) == 2)
    _ = cable.right.send([Sample.numbered(2, count: 99)])
    loop.run()
    #expect(guest.received.count == 1)
    #expect(file.close() == nil)

    let reader = CaptureReader(try HostFile.contents(of: path, limit: 1 << 20))
    #expect(reader.isWellFormed)
    #expect(reader.types == [0x0a0d_0d0a, 1, 6, 6, 6, 5])
    #expect(reader.resolution == 9 && reader.interface == "net0")
    #expect(
      reader.packets.map(\.bytes)
        == [Sample.numbered(0), Sample.numbered(1, count: 61), Sample.numbered(2, count: 99)].map(
          \.bytes))
    #expect(reader.packets.map(\.flags) == [2, 2, 1])
    #expect(
      reader.packets.map(\.time) == [
        1_700_000_000_000_000_000, 1_700_000_000_000_000_000, 1_700_000_001_000_000_001,
      ])
    #expect(reader.received == 3 && reader.dropped == 0)
  }

  @Test func `frames that were not sent are not recorded`() throws {
    let path = temporaryPath("capture.pcapng")
    defer { unlink(path) }
    let file = try CaptureFile(path: path, interface: "net0", clock: countingClock())
    let port = CapturePort(Cable(depth: 2).left, to: file)
    #expect(port.send((0..<5).map { Sample.numbered($0) }) == 2)
    file.close()
    #expect(CaptureReader(try HostFile.contents(of: path, limit: 1 << 20)).packets.count == 2)
  }

  @Test func `a slow reader costs frames, which are counted, but no order and no memory`() throws {
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    let (reading, writing) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    let file = try CaptureFile(
      to: writing, interface: "net0", capacity: 1 << 16, clock: countingClock())
    for number in 0..<2000 { file.record([Sample.numbered(number, count: 600)], .outbound) }
    let lost = file.dropped
    #expect(lost > 0)
    let collected = Mutex<[UInt8]>([])
    let thread = try Thread(name: "reader") {
      while let part = try? reading.read(upTo: 1 << 16), !part.isEmpty {
        collected.withLock { $0 += part }
      }
    }
    #expect(file.close() == nil)
    // The pipe's last writer goes with the file.
    let bytes = try #require(
      {
        var bytes: [UInt8] = []
        _ = eventually {
          bytes = collected.withLock { $0 }
          return CaptureReader(bytes).types.last == 5
        }
        return bytes
      }() as [UInt8]?)
    _ = thread
    let reader = CaptureReader(bytes)
    #expect(reader.isWellFormed)
    #expect(reader.packets.count + Int(lost) == 2000)
    #expect(reader.received == 2000 && reader.dropped == lost)
    let numbers = reader.packets.map { Int($0.bytes[14]) << 8 | Int($0.bytes[15]) }
    #expect(numbers == numbers.sorted())
    // Every gap is announced by the frame behind it.
    for (index, packet) in reader.packets.enumerated().dropFirst() {
      #expect(Int(packet.dropped) == numbers[index] - numbers[index - 1] - 1)
    }
  }

  @Test func `a full disk ends the recording and not the network`() throws {
    let file = try CaptureFile(path: "/dev/full", interface: "net0", clock: countingClock())
    let port = CapturePort(NullPort(), to: file)
    #expect(eventually { file.failure != nil })
    #expect(port.send([Sample.numbered(0)]) == 1)
    #expect(file.close()?.code == ENOSPC)
    #expect(file.dropped == 1)
  }

  @Test(.enabled(if: access("/usr/bin/tcpdump", X_OK) == 0, "tcpdump is not installed"))
  func `tcpdump reads it`() throws {
    let text = try readByTool("/usr/bin/tcpdump -e -n -tt -r %s")
    #expect(text.contains("1700000000.000000000") || text.contains("1700000000.000000"))
    #expect(text.contains("ethertype Unknown (0x88b5)"))
    #expect(text.split(separator: "\n").count { !$0.hasPrefix("\t") } == 2)
  }

  @Test(.enabled(if: access("/usr/bin/tshark", X_OK) == 0, "tshark is not installed"))
  func `tshark reads its directions and times`() throws {
    let text = try readByTool(
      "/usr/bin/tshark -r %s -T fields -e frame.time_epoch -e frame.packet_flags_direction -e frame.len"
    )
    let lines = text.split(separator: "\n").map { $0.split(separator: "\t").map(String.init) }
    #expect(lines.count == 2)
    #expect(lines.allSatisfy { $0.count == 3 && $0[2] == "60" })
    #expect(lines.first?[0] == "1700000000.000000000")
    #expect(lines.map { $0[1].suffix(1) } == ["2", "1"])
  }

  private func readByTool(_ command: String) throws -> String {
    let path = temporaryPath("capture.pcapng")
    let output = temporaryPath("capture.txt")
    defer {
      unlink(path)
      unlink(output)
    }
    let file = try CaptureFile(path: path, interface: "net0", clock: countingClock())
    file.record([Sample.numbered(0)], .outbound)
    file.record([Sample.numbered(1)], .inbound)
    file.close()
    let parts = command.split(separator: " ").map { $0 == "%s" ? path : String($0) }
    var arguments: [UnsafeMutablePointer<CChar>?] = parts.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    defer { posix_spawn_file_actions_destroy(&actions) }
    var child: pid_t = 0
    try #require(posix_spawn(&child, parts[0], &actions, nil, &arguments, environ) == 0)
    var status: Int32 = 0
    waitpid(child, &status, 0)
    return String(decoding: try HostFile.contents(of: output, limit: 1 << 20), as: UTF8.self)
  }
}
