/// The shapes in which FNSTENV and FNSAVE lay out the x87 environment: SDM Vol. 1 §8.1.10 "Saving
/// the x87 FPU's State with FSTENV/FNSTENV and FSAVE/FNSAVE".
enum X87EnvironmentFormat: UInt8, Sendable {
  /// 14 bytes, with selectors: Figure 8-11. Also in 64-bit mode.
  case protected16
  /// 28 bytes, with selectors: Figure 8-9. Also in 64-bit mode.
  case protected32
  /// 14 bytes, with linear addresses of 20 bits: Figure 8-12. Also in virtual-8086 mode.
  case real16
  /// 28 bytes, with linear addresses of 32 bits: Figure 8-10. Also in virtual-8086 mode.
  case real32

  /// Bytes of an environment.
  var size: Int { isWide ? 28 : 14 }
  /// Bytes of an environment and eight registers behind it.
  var stateSize: Int { size &+ 80 }

  fileprivate var isWide: Bool { self == .protected32 || self == .real32 }
  fileprivate var isReal: Bool { self == .real16 || self == .real32 }
}

// MARK: - The full tag word

extension X87State {
  /// Two bits for each of R0 to R7, R0 lowest: valid, zero, special, empty. SDM Vol. 1 §8.1.7.
  var tagWord: UInt16 {
    get {
      var word: UInt16 = 0
      for number in 0..<8 {
        let tag: UInt16 =
          if tags >> number & 1 == 0 {
            3
          } else {
            switch registers[number].classification {
            case .normal: 0
            case .zero: 1
            case .unsupported, .nan, .infinity, .denormal: 2
            }
          }
        word |= tag << (2 &* number)
      }
      return word
    }
    set {
      tags = 0
      for number in 0..<8 where newValue >> (2 &* number) & 3 != 3 { tags |= 1 << number }
    }
  }
}

// MARK: - FNSTENV, FLDENV, FNSAVE, FRSTOR

/// The caller has made sure of the memory, and, for FLDENV and FRSTOR, which wait, that there is no
/// pending exception.
extension X87State {
  /// FNSTENV: writes `format.size` bytes, then masks all exceptions.
  mutating func storeEnvironment(
    to bytes: UnsafeMutableRawPointer, _ format: X87EnvironmentFormat
  ) {
    let (code, data) = (lastInstruction, lastData)
    var words: InlineArray<7, UInt32> = [
      UInt32(control.rawValue), UInt32(status.rawValue), UInt32(tagWord), 0, 0, 0, 0,
    ]
    words[3] = UInt32(truncatingIfNeeded: code.offset)
    words[5] = UInt32(truncatingIfNeeded: data.offset)
    if format.isReal {
      // Above the low 16 bits, an address goes into the upper bits of the next word.
      let bits: UInt32 = format.isWide ? 0xffff : 0xf
      words[4] = (words[3] >> 16 & bits) << 12 | UInt32(lastOpcode)
      words[6] = (words[5] >> 16 & bits) << 12
      words[3] = words[3] & 0xffff | 0xffff_0000
      words[5] = words[5] & 0xffff | 0xffff_0000
    } else {
      words[4] = UInt32(code.selector) | UInt32(lastOpcode) << 16
      words[6] = UInt32(data.selector) | 0xffff_0000
    }
    for index in 0..<3 { words[index] |= 0xffff_0000 }
    for index in 0..<7 {
      if format.isWide {
        bytes.storeBytes(of: words[index].littleEndian, toByteOffset: 4 &* index, as: UInt32.self)
      } else {
        let word = UInt16(truncatingIfNeeded: words[index])
        bytes.storeBytes(of: word.littleEndian, toByteOffset: 2 &* index, as: UInt16.self)
      }
    }
    control.masks = .all
    summarize()
  }

  /// FLDENV: reads `format.size` bytes.
  mutating func loadEnvironment(from bytes: UnsafeRawPointer, _ format: X87EnvironmentFormat) {
    func word(_ index: Int) -> UInt32 {
      format.isWide
        ? UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 &* index, as: UInt32.self))
        : UInt32(
          UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 &* index, as: UInt16.self)))
    }
    control = X87Control(loading: UInt64(word(0)))
    status.rawValue = UInt16(truncatingIfNeeded: word(1))
    tagWord = UInt16(truncatingIfNeeded: word(2))
    if format.isReal {
      lastInstruction = X87Pointer(offset: UInt64(word(3) & 0xffff | (word(4) >> 12) << 16))
      lastData = X87Pointer(offset: UInt64(word(5) & 0xffff | (word(6) >> 12) << 16))
      lastOpcode = UInt16(truncatingIfNeeded: word(4)) & 0x7ff
    } else {
      lastInstruction = X87Pointer(
        offset: UInt64(word(3)), selector: UInt16(truncatingIfNeeded: word(4)))
      lastData = X87Pointer(
        offset: UInt64(word(5)), selector: UInt16(truncatingIfNeeded: word(6)))
      lastOpcode = format.isWide ? UInt16(truncatingIfNeeded: word(4) >> 16) & 0x7ff : 0
    }
    summarize()
  }

  /// FNSAVE: writes `format.stateSize` bytes, then initializes.
  mutating func storeState(to bytes: UnsafeMutableRawPointer, _ format: X87EnvironmentFormat) {
    storeEnvironment(to: bytes, format)
    for index in 0..<8 {
      self[register: UInt8(index)].store(to: bytes + format.size + 10 &* index)
    }
    initialize()
  }

  /// FRSTOR: reads `format.stateSize` bytes.
  mutating func loadState(from bytes: UnsafeRawPointer, _ format: X87EnvironmentFormat) {
    loadEnvironment(from: bytes, format)
    for index in 0..<8 {
      self[register: UInt8(index)] = ExtendedFloat(loading: bytes + format.size + 10 &* index)
    }
  }

  /// ST(`index`) as a place, whatever its tag says.
  private subscript(register index: UInt8) -> ExtendedFloat {
    get { registers[Int((status.top &+ index) & 7)] }
    set { registers[Int((status.top &+ index) & 7)] = newValue }
  }
}

extension ExtendedFloat {
  /// Ten bytes of memory.
  fileprivate init(loading bytes: UnsafeRawPointer) {
    self.init(
      significand: UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self)),
      signExponent: UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self)))
  }

  fileprivate func store(to bytes: UnsafeMutableRawPointer) {
    bytes.storeBytes(of: significand.littleEndian, as: UInt64.self)
    bytes.storeBytes(of: signExponent.littleEndian, toByteOffset: 8, as: UInt16.self)
  }
}

// MARK: - FXSAVE, FXRSTOR, and the legacy region of XSAVE

extension X87State {
  /// Writes what FXSAVE keeps of the x87 state: bytes 0 to 23 and 32 to 159 of its area, where MXCSR
  /// and the XMM registers are left alone. `wide` is the form with REX.W, with 64-bit pointers.
  ///
  /// - SeeAlso: Intel SDM Vol. 1 §10.5.1 "FXSAVE Area".
  func storeFXSAVE(to bytes: UnsafeMutableRawPointer, wide: Bool) {
    bytes.storeBytes(of: control.rawValue.littleEndian, as: UInt16.self)
    bytes.storeBytes(of: status.rawValue.littleEndian, toByteOffset: 2, as: UInt16.self)
    bytes.storeBytes(of: UInt16(tags).littleEndian, toByteOffset: 4, as: UInt16.self)
    bytes.storeBytes(of: lastOpcode.littleEndian, toByteOffset: 6, as: UInt16.self)
    let code = lastInstruction.packed(wide: wide)
    let data = lastData.packed(wide: wide)
    bytes.storeBytes(of: code.littleEndian, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: data.littleEndian, toByteOffset: 16, as: UInt64.self)
    for index in 0..<8 {
      let place = bytes + (32 &+ 16 &* index)
      self[register: UInt8(index)].store(to: place)
      place.storeBytes(of: 0, toByteOffset: 10, as: UInt16.self)
      place.storeBytes(of: 0, toByteOffset: 12, as: UInt32.self)
    }
  }

  /// Reads what FXRSTOR does of the x87 state, from the same places.
  mutating func loadFXSAVE(from bytes: UnsafeRawPointer, wide: Bool) {
    func word(_ offset: Int) -> UInt16 {
      UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    func pointer(_ offset: Int) -> X87Pointer {
      let packed = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      return X87Pointer(unpacking: UInt64(littleEndian: packed), wide: wide)
    }
    control = X87Control(loading: UInt64(word(0)))
    status.rawValue = word(2)
    tags = UInt8(truncatingIfNeeded: word(4))
    lastOpcode = word(6) & 0x7ff
    lastInstruction = pointer(8)
    lastData = pointer(16)
    for index in 0..<8 {
      self[register: UInt8(index)] = ExtendedFloat(loading: bytes + (32 &+ 16 &* index))
    }
    summarize()
  }
}

extension X87Pointer {
  /// 64 bits of offset, or 32 and a selector.
  fileprivate func packed(wide: Bool) -> UInt64 {
    wide ? offset : offset & 0xffff_ffff | UInt64(selector) << 32
  }

  fileprivate init(unpacking packed: UInt64, wide: Bool) {
    self.init(
      offset: wide ? packed : packed & 0xffff_ffff,
      selector: wide ? 0 : UInt16(truncatingIfNeeded: packed >> 32))
  }
}
