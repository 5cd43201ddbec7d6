import ArchitectureX86

@testable import SameISA
@testable import X86Processor

/// An encoding of the vector maps, with registers by which the tests know its operands: ModRM.reg is 1, ModRM.rm
/// register 3 or memory at RSI, VEX.vvvv register 2, or 0 as where it names nothing.
struct VectorInstruction: CustomStringConvertible {
  static let reg = 1
  static let rm = 3
  static let base = 6

  let bytes: [UInt8]
  let decoded: Instruction

  /// - Returns: `nil` if the bytes are not one instruction of at most that length.
  init?(_ bytes: [UInt8]) {
    guard let decoded = bytes.withUnsafeBytes({ try? Decoder.decode($0, mode: .bits64) }) else {
      return nil
    }
    self.bytes = Array(bytes.prefix(Int(decoded.length)))
    self.decoded = decoded
  }

  var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }

  /// With another immediate.
  func replacing(immediate: UInt8) -> VectorInstruction {
    hasImmediate ? VectorInstruction(bytes.dropLast() + [immediate]) ?? self : self
  }

  var hasImmediate: Bool { OpcodeFormat.immediate(decoded) == .byte }

  /// Whether an immediate names a register in its upper half.
  var namesRegisterByImmediate: Bool {
    decoded.vex != nil && decoded.map == .threeByte3A && 0x4a...0x4c ~= decoded.opcode
  }

  /// Every opcode behind 0F, 0F 38 and 0F 3A with every prefix that counts as part of it, without VEX and with, to
  /// memory and to a register.
  static let all: [VectorInstruction] = {
    var all: [VectorInstruction] = []
    for map in 1...3 as ClosedRange<UInt8> {
      for opcode in 0...0xff as ClosedRange<UInt8> {
        // Groups whose field of ModRM is part of the opcode.
        let fields: [UInt8] = map == 1 && 0x71...0x73 ~= opcode ? Array(0...7) : [UInt8(reg)]
        for field in fields {
          for modRM in [field << 3 | UInt8(base), 0xc0 | field << 3 | UInt8(rm)] {
            for prefix in 0...3 as ClosedRange<UInt8> {
              all += legacy(map, opcode, modRM, prefix) + vex(map, opcode, modRM, prefix)
            }
          }
        }
      }
    }
    return all
  }()

  private static func legacy(
    _ map: UInt8, _ opcode: UInt8, _ modRM: UInt8, _ prefix: UInt8
  ) -> [VectorInstruction] {
    let prefixes: [[UInt8]] = [[], [0x66], [0xf3], [0xf2]]
    let maps: [[UInt8]] = [[0x0f], [0x0f, 0x38], [0x0f, 0x3a]]
    // Another escape is not an opcode.
    if map == 1, opcode == 0x38 || opcode == 0x3a { return [] }
    return [[], [0x48]].compactMap { rex in
      VectorInstruction(
        prefixes[Int(prefix)] + rex + maps[Int(map - 1)] + [opcode, modRM, 0, 0, 0, 0])
    }
  }

  private static func vex(
    _ map: UInt8, _ opcode: UInt8, _ modRM: UInt8, _ prefix: UInt8
  ) -> [VectorInstruction] {
    var all: [VectorInstruction] = []
    for w in [0, 0x80] as [UInt8] {
      for l in [0, 4] as [UInt8] {
        for register in [2, 0] as [UInt8] {
          all +=
            VectorInstruction([
              0xc4, 0xe0 | map, w | (~register & 15) << 3 | l | prefix, opcode, modRM, 0, 0, 0, 0,
            ]).map { [$0] } ?? []
        }
      }
    }
    return all
  }
}
