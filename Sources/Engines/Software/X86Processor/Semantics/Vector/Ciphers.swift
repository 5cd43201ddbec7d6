import ArchitectureX86
import CFloat
import CProcessor

// AES, PCLMULQDQ and SHA: SDM Vol. 1 §5.8, §12.13, Vol. 2. What they compute is CFloat's.

private typealias Block = SIMD16<UInt8>

enum Ciphers {
  static func handler38(_ opcode: UInt8) -> Handler? {
    switch opcode {
    case 0xdb: { lane($0, $1) { (b: Block) in x86_aesimc(b) } }
    case 0xdc: { lanes($0, $1) { (a: Block, b) in x86_aesenc(a, b) } }
    case 0xdd: { lanes($0, $1) { (a: Block, b) in x86_aesenclast(a, b) } }
    case 0xde: { lanes($0, $1) { (a: Block, b) in x86_aesdec(a, b) } }
    case 0xdf: { lanes($0, $1) { (a: Block, b) in x86_aesdeclast(a, b) } }
    default: nil
    }
  }

  static func sha(_ opcode: UInt8) -> Handler? {
    switch opcode {
    case 0xc8: { lanes($0, $1) { (a: Block, b) in x86_sha1nexte(a, b) } }
    case 0xc9: { lanes($0, $1) { (a: Block, b) in x86_sha1msg1(a, b) } }
    case 0xca: { lanes($0, $1) { (a: Block, b) in x86_sha1msg2(a, b) } }
    case 0xcb:
      { cpu, op in
        lanes(cpu, op) { (a: Block, b) in x86_sha256rnds2(a, b, cpu.vector(0)) }
      }
    case 0xcc: { lanes($0, $1) { (a: Block, b) in x86_sha256msg1(a, b) } }
    case 0xcd: { lanes($0, $1) { (a: Block, b) in x86_sha256msg2(a, b) } }
    default: nil
    }
  }

  static let sha1Rounds: Handler = {
    lanes($0, $1) { (a: Block, b, function) in x86_sha1rnds4(a, b, function) }
  }
  static let multiplication: Handler = {
    lanes($0, $1) { (a: Block, b, choice) in x86_pclmulqdq(a, b, choice) }
  }
  static let keyAssistance: Handler = {
    lanes($0, $1) { (_: Block, b, constant) in x86_aeskeygenassist(b, constant) }
  }
}

extension Translator {
  /// 0F 38 C8 to CD without a prefix: SHA, which has no form with VEX.
  mutating func secureHash() -> Flow? {
    guard i.vex == nil, let handler = Ciphers.sha(i.opcode) else { return nil }
    emitAvailability(VectorAvailability.requireSSE)
    return vector(handler)
  }

  /// 0F 3A CC without a prefix: SHA1RNDS4.
  mutating func secureHashRounds() -> Flow? {
    guard i.vex == nil else { return nil }
    emitAvailability(VectorAvailability.requireSSE)
    return vector(Ciphers.sha1Rounds)
  }
}
