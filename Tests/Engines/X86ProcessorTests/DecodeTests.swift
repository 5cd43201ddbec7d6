import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// Whatever bytes a guest runs, decoding ends, stays inside them, and makes no more steps than there is room
/// for: SDM Vol. 2A chapter 2.
struct DecodeTests {
  private static let modes: [CodeMode] = [.bits64, .bits32, .bits16]

  /// Prefixes, an opcode of any map, and random bytes behind: more than the longest instruction.
  private func bytes(_ random: inout SeededNumbers, _ map: [UInt8], _ opcode: UInt8) -> [UInt8] {
    let prefixes: [UInt8] = [
      0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x64, 0x65, 0x40, 0x48, 0x4f,
    ]
    let start = (0..<random.below(4)).map { _ in random.pick(prefixes) }
    return start + map + [opcode]
      + (0..<16).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  private func decode(_ bytes: ArraySlice<UInt8>, _ mode: CodeMode) -> Result<
    Instruction, DecodeError
  > {
    bytes.withUnsafeBytes { buffer in
      do throws(DecodeError) {
        return .success(try Decoder.decode(buffer, mode: mode))
      } catch {
        return .failure(error)
      }
    }
  }

  /// The last are VEX prefixes: in three bytes for each map, and in two.
  private static let maps: [[UInt8]] = [
    [], [0x0f], [0x0f, 0x38], [0x0f, 0x3a], [0xc4, 0xe1, 0x7d], [0xc4, 0xe2, 0x6d],
    [0xc4, 0xe2, 0xf9], [0xc4, 0xe3, 0x6d], [0xc4, 0xe3, 0xfd], [0xc5, 0xec], [0xc5, 0xfe],
  ]

  @Test(arguments: modes)
  func `every opcode is taken apart and translated within its room`(_ mode: CodeMode) {
    var random = SeededNumbers(seed: 5)
    let room = Translator.stepsPerInstruction
    let buffer = UnsafeMutablePointer<x86_op>.allocate(capacity: 4 * room)
    defer { buffer.deallocate() }
    for map in Self.maps {
      for opcode in 0...255 as ClosedRange<UInt8> {
        for turn in 0..<60 {
          let bytes = bytes(&random, map, opcode)
          let instruction: Instruction
          switch decode(bytes[...], mode) {
          case .success(let whole): instruction = whole
          // Opcodes that are prefixes make more than 15 bytes of some.
          case .failure(.tooLong): continue
          case .failure(.truncated):
            Issue.record("\(bytes) in \(mode) asks for more bytes than there may be")
            continue
          }
          #expect(instruction.length > 0 && instruction.length <= 15)
          var translator = Translator(into: buffer, capacity: 4 * room)
          translator.vectorDisabled = turn & 1 != 0
          translator.features = turn & 2 != 0 ? .x86_64v3 : .x86_64v2
          _ = translator.translate(instruction, at: 0x800)
          if translator.count > room || translator.count == 0 {
            Issue.record("\(bytes) in \(mode) makes \(translator.count) steps")
          }
        }
      }
    }
  }

  @Test(arguments: modes)
  func `an instruction is whole with its last byte and not before`(_ mode: CodeMode) {
    var random = SeededNumbers(seed: 6)
    for map in Self.maps {
      for opcode in 0...255 as ClosedRange<UInt8> {
        let bytes = bytes(&random, map, opcode)
        guard case .success(let whole) = decode(bytes[...], mode) else { continue }
        let length = Int(whole.length)
        for count in 0..<length {
          guard case .failure(.truncated) = decode(bytes[..<count], mode) else {
            Issue.record("\(bytes[..<count]) of \(bytes[..<length]) in \(mode) is an instruction")
            break
          }
        }
        guard case .success(let exact) = decode(bytes[..<length], mode) else {
          Issue.record("\(bytes[..<length]) in \(mode) is no instruction")
          continue
        }
        #expect(exact.length == whole.length && exact.immediate == whole.immediate)
      }
    }
  }

  @Test(arguments: modes)
  func `prefixes without end are too long`(_ mode: CodeMode) {
    for prefix in [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64] as [UInt8] {
      let bytes = [UInt8](repeating: prefix, count: 20)
      guard case .failure(.tooLong) = decode(bytes[...], mode) else {
        Issue.record("\(prefix) repeated is an instruction")
        continue
      }
    }
  }
}
