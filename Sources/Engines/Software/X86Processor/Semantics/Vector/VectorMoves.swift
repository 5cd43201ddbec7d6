import CProcessor

// Moves between registers: SDM Vol. 1 §10.4.1.1, §11.4.1.1, §11.4.2. Those from and to memory are the
// loads and stores of VectorMemory.swift.

enum VectorMoves {
  /// MOVAPS, MOVUPS, MOVDQA and the like.
  static let whole: Handler = { lane($0, $1) { (b: Quadwords) in b } }
  /// MOVSS.
  static let single: Handler = {
    lanes($0, $1) { (a: Doublewords, b) in Doublewords(b.x, a.y, a.z, a.w) }
  }
  /// MOVSD.
  static let double: Handler = { lanes($0, $1) { (a: Quadwords, b) in Quadwords(b.x, a.y) } }
  /// MOVQ: the upper half is cleared.
  static let low: Handler = { lane($0, $1) { (b: Quadwords) in Quadwords(b.x, 0) } }
  /// MOVHLPS.
  static let highToLow: Handler = { lanes($0, $1) { (a: Quadwords, b) in Quadwords(b.y, a.y) } }
  /// MOVLHPS.
  static let lowToHigh: Handler = { lanes($0, $1) { (a: Quadwords, b) in Quadwords(a.x, b.x) } }
  /// MOVDDUP.
  static let duplicateLow: Handler = { lane($0, $1) { (b: Quadwords) in Quadwords(b.x, b.x) } }
  /// MOVSLDUP.
  static let duplicateEven: Handler = {
    lane($0, $1) { (b: Doublewords) in Doublewords(b.x, b.x, b.z, b.z) }
  }
  /// MOVSHDUP.
  static let duplicateOdd: Handler = {
    lane($0, $1) { (b: Doublewords) in Doublewords(b.y, b.y, b.w, b.w) }
  }

  /// MOVD and MOVQ from a general register.
  static let fromDoubleword: Handler = { cpu, op in
    let value = cpu.get(op.pointee.source, UInt32.self)
    cpu.setVector(op.pointee.destination, Quadwords(UInt64(value), 0))
    return next(cpu, op)
  }
  static let fromQuadword: Handler = { cpu, op in
    let value = cpu.get(op.pointee.source, UInt64.self)
    cpu.setVector(op.pointee.destination, Quadwords(value, 0))
    return next(cpu, op)
  }
  /// MOVD and MOVQ to a general register.
  static let toDoubleword: Handler = { cpu, op in
    cpu.set(op.pointee.destination, cpu.vector(op.pointee.source, as: Doublewords.self).x)
    return next(cpu, op)
  }
  static let toQuadword: Handler = { cpu, op in
    cpu.set(op.pointee.destination, cpu.vector(op.pointee.source, as: Quadwords.self).x)
    return next(cpu, op)
  }

  // MARK: - Sign masks

  /// PMOVMSKB: a multiplication gathers the top bits of eight bytes in one.
  static let byteMask: Handler = { cpu, op in
    let signs =
      cpu.vector(op.pointee.source, as: Quadwords.self)
      & Quadwords(repeating: 0x8080_8080_8080_8080)
    let masks = (signs &* Quadwords(repeating: 0x0002_0408_1020_4081)) &>> 56
    cpu.set(op.pointee.destination, UInt32(truncatingIfNeeded: masks.x | masks.y &<< 8))
    return next(cpu, op)
  }
  /// MOVMSKPS.
  static let singleMask: Handler = { cpu, op in
    let signs = cpu.vector(op.pointee.source, as: Doublewords.self) &>> 31
    cpu.set(op.pointee.destination, signs.x | signs.y &<< 1 | signs.z &<< 2 | signs.w &<< 3)
    return next(cpu, op)
  }
  /// MOVMSKPD.
  static let doubleMask: Handler = { cpu, op in
    let signs = cpu.vector(op.pointee.source, as: Quadwords.self) &>> 63
    cpu.set(op.pointee.destination, UInt32(truncatingIfNeeded: signs.x | signs.y &<< 1))
    return next(cpu, op)
  }
}
