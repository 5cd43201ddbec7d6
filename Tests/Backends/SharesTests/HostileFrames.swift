import Kit

/// Frames as a hostile guest might send them: mostly in form, with values that are not, and then damaged.
///
/// One thing is spared: requests for host disk space by the terabyte, which a host would grant.
struct HostileFrames {
  private var chance: Chance
  private var unique: UInt64 = 0

  init(seed: UInt64) { chance = Chance(seed: seed) }

  private static let names = [
    "a", "b", "c", "d", "e", "d/f", ".", "..", "/", "", "../secret", "../../etc/passwd", "link",
    "pipe", "\u{0}x", String(repeating: "n", count: 255), String(repeating: "n", count: 300),
    "user.x", "user.", "security.capability", "d", "a", "b",
  ]

  private mutating func pick(_ count: Int) -> Int { Int(chance.number(below: UInt64(count))) }
  private mutating func name() -> String { HostileFrames.names[pick(HostileFrames.names.count)] }
  /// A node, fid or handle that may well be in use.
  private mutating func known() -> UInt64 {
    pick(10) == 0 ? chance.value() : chance.number(below: 12)
  }
  /// An offset or size.
  private mutating func extent() -> UInt64 {
    switch pick(4) {
    case 0: chance.value()
    case 1: .max >> 1 - chance.number(below: 3)
    default: chance.number(below: 10_000)
    }
  }
  private mutating func mode() -> UInt32 {
    let types: [UInt32] = [0, 0o100000, 0o040000, 0o120000, 0o010000, 0o020000, 0o060000]
    return types[pick(7)] | UInt32(chance.number(below: 0o10000))
  }
  private mutating func flags() -> UInt32 {
    UInt32(chance.number(below: 4)) | (pick(3) == 0 ? UInt32(truncatingIfNeeded: chance.next()) : 0)
  }
  private mutating func word() -> UInt32 { UInt32(truncatingIfNeeded: chance.value()) }
  private mutating func bytes(_ most: Int) -> Bytes {
    let count = pick(most)
    return raw((0..<count).map { UInt8(truncatingIfNeeded: $0) })
  }

  mutating func room() -> Int { pick(8) == 0 ? pick(200) : 70_000 }

  // MARK: - FUSE

  mutating func fuse() -> [UInt8] {
    unique += 1
    let opcode = pick(30) == 0 ? word() : UInt32(pick(50) + 1)
    let body = fuseBody(opcode)
    let node = known()
    let head = n4(UInt32(40 + body.all.count)) + n4(opcode) + n8(unique) + n8(node)
    let frame = (head + n4(word()) + n4(word()) + n4(1) + n4(0) + body).all
    let damaged = damage(frame)
    return damaged.count > 5 && damaged[4] == 43 ? frame : damaged
  }

  private mutating func fuseBody(_ opcode: UInt32) -> Bytes {
    switch opcode {
    case 1, 10, 11, 24: return z(name())
    case 2: return n8(extent())
    case 3: return n4(0) + n4(0) + n8(known())
    case 4:
      let head = n4(word() & 0x3ff) + n4(0) + n8(known()) + n8(extent()) + n8(0)
      let times = n8(chance.value()) + n8(chance.value()) + n8(0) + n4(word()) + n4(word()) + n4(0)
      return head + times + n4(mode()) + n4(0) + n4(word()) + n4(word()) + n4(0)
    case 6: return z(name()) + z(name())
    case 8: return n4(mode()) + n4(word()) + n8(0) + z(name())
    case 9: return n4(mode()) + n4(0) + z(name())
    case 12: return n8(known()) + z(name()) + z(name())
    case 13: return n8(known()) + z(name())
    case 14, 27: return n4(flags()) + n4(0)
    case 15, 28, 44: return n8(known()) + n8(extent()) + n4(word() & 0x1_ffff) + raw(zeroes(20))
    case 16:
      let data = bytes(3000)
      let size = pick(10) == 0 ? word() : UInt32(data.all.count)
      return n8(known()) + n8(extent()) + n4(size) + raw(zeroes(20)) + data
    case 18, 29: return n8(known()) + raw(zeroes(16))
    case 20, 30: return n8(known()) + n4(1) + n4(0)
    case 21:
      let data = bytes(100)
      return n4(UInt32(data.all.count)) + n4(word() & 3) + z(name()) + data
    case 22, 23: return n4(word() & 0xffff) + n4(0) + z(name())
    case 25: return n8(known()) + raw(zeroes(16))
    case 26:
      return n4(7) + n4(pick(8) == 0 ? word() : 38) + n4(word()) + n4(word()) + raw(zeroes(48))
    case 31, 32, 33:
      return n8(known()) + n8(0) + n8(extent()) + n8(extent()) + n4(word() & 3) + n4(0) + n8(0)
    case 34: return n4(word()) + n4(0)
    case 35: return n4(flags()) + n4(mode()) + n8(0) + z(name())
    case 38: return pick(20) == 0 ? Bytes() : n1(0)
    case 42:
      let count = pick(5) == 0 ? word() : 2
      return n4(count) + n4(0) + n8(known()) + n8(extent()) + n8(known()) + n8(1)
    case 43:
      let modes: [UInt32] = [0, 1, 3, 16, 17, 2, 8]
      let length = pick(4) == 0 ? UInt64.max >> UInt64(pick(3)) : chance.number(below: 100_000)
      return n8(known()) + n8(chance.number(below: 100_000)) + n8(length) + n4(modes[pick(7)])
        + n4(0)
    case 45: return n8(known()) + n4(word() & 7) + n4(0) + z(name()) + z(name())
    case 46: return n8(known()) + n8(extent()) + n4(word() & 7) + n4(0)
    case 47:
      let source = n8(known()) + n8(extent()) + n8(0)
      return source + n8(known()) + n8(extent()) + n8(chance.number(below: 100_000)) + n8(0)
    default: return bytes(100)
    }
  }

  // MARK: - 9P

  private static let ninePTypes: [UInt8] = [
    8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 102, 104, 108, 110,
    110, 110, 116, 118, 120, 122,
  ]

  mutating func nineP() -> [UInt8] {
    let types = HostileFrames.ninePTypes
    let type = pick(200) == 0 ? 100 : pick(30) == 0 ? UInt8(pick(256)) : types[pick(types.count)]
    let body = ninePBody(type)
    let frame = (n4(UInt32(7 + body.all.count)) + n1(type) + n2(UInt16(pick(4))) + body).all
    return damage(frame)
  }

  private mutating func fid() -> Bytes { n4(UInt32(truncatingIfNeeded: known())) }

  private mutating func ninePBody(_ type: UInt8) -> Bytes {
    switch type {
    case 8, 22, 120, 122: return fid()
    case 12: return fid() + n4(flags())
    case 14: return fid() + s(name()) + n4(flags()) + n4(mode()) + n4(word())
    case 16: return fid() + s(name()) + s(name()) + n4(word())
    case 18: return fid() + s(name()) + n4(mode()) + n8(0) + n4(word())
    case 20: return fid() + fid() + s(name())
    case 24: return fid() + n8(chance.value())
    case 26:
      let head = fid() + n4(word() & 0x1ff) + n4(mode()) + n4(word()) + n4(word()) + n8(extent())
      return head + n8(chance.value()) + n8(chance.value()) + n8(chance.value())
        + n8(chance.value())
    case 30: return fid() + fid() + s(name())
    case 32: return fid() + s(name()) + n8(extent()) + n4(word() & 3)
    case 40, 116: return fid() + n8(extent()) + n4(word())
    case 50: return fid() + n4(word())
    case 52:
      return fid() + n1(UInt8(pick(4))) + n4(1) + n8(extent()) + n8(extent()) + n4(1) + s("x")
    case 54: return fid() + n1(UInt8(pick(4))) + n8(extent()) + n8(extent()) + n4(1) + s(name())
    case 70: return fid() + fid() + s(name())
    case 72: return fid() + s(name()) + n4(mode()) + n4(word())
    case 74: return fid() + s(name()) + fid() + s(name())
    case 76: return fid() + s(name()) + n4(word())
    case 100: return n4(word() | 4096) + s(pick(10) == 0 ? "9P2000.u" : "9P2000.L")
    case 104: return fid() + n4(.max) + s("root") + s("") + n4(word())
    case 108: return n2(UInt16(pick(5)))
    case 110:
      let count = pick(18)
      let names = (0..<count).reduce(Bytes()) { all, _ in all + s(self.name()) }
      return fid() + fid() + n2(UInt16(pick(5) == 0 ? Int(word() & 0xffff) : count)) + names
    case 118:
      let data = bytes(3000)
      return fid() + n8(extent()) + n4(pick(10) == 0 ? word() : UInt32(data.all.count)) + data
    default: return bytes(100)
    }
  }

  // MARK: - Damage

  private func zeroes(_ count: Int) -> [UInt8] { Array(repeating: 0, count: count) }

  /// One frame in four is cut, lengthened, or has bits turned.
  private mutating func damage(_ frame: [UInt8]) -> [UInt8] {
    var frame = frame
    switch pick(16) {
    case 0: frame = Array(frame.prefix(pick(frame.count + 1)))
    case 1: frame += zeroes(pick(50))
    case 2, 3:
      for _ in 0...pick(4) {
        frame[pick(frame.count)] ^= 1 << UInt8(pick(8))
      }
    default: break
    }
    return frame
  }
}
