import CProcessor

/// The code through which the interpreter enters host code and is entered from it.
///
/// An op whose `run` is a gate has host code. Whoever leaves host code stores the guest's registers and jumps to an op's
/// handler with the stack of whoever entered, as if the interpreter had come from the op before.
struct Gates {
  /// Where the guest's status flags are when host code is left.
  enum Flags: CaseIterable {
    /// In the host's.
    case live
    /// In `saved_flags`.
    case saved
    /// Nobody will ask for them.
    case dead
  }

  /// Who goes on when host code is left.
  enum Successor: CaseIterable {
    /// What the op's handler was before it got a gate; R11 holds the op's number.
    case handler
    /// The op's `run`; R11 holds its number.
    case run
    /// The run loop; `x86_cpu.rip` is set.
    case loop
  }

  /// Handlers of ops that have host code, where status flags matter and where they do not.
  private(set) var enter: UInt64 = 0
  private(set) var enterWithoutFlags: UInt64 = 0
  /// What host code jumps to instead of an op's, where there is none; R11 holds the op.
  private(set) var leaving: UInt64 = 0
  /// Called by host code: brings the guest's vector registers into the host's. R11 holds the op's number: where an
  /// exception of SSE's is not masked, its handler goes on instead, with flags saved.
  private(set) var loadVectors: UInt64 = 0
  /// The same for the x87 FPU and its exceptions.
  private(set) var loadX87: UInt64 = 0
  /// Called by the ways out.
  private var storeX87: UInt64 = 0
  /// Called by host code, for operands of 2, 4 and 8 bytes, of the supervisor and then of the user: R10 holds a linear
  /// address that missed. If it is of an operand in two pages that both are known, R10 is where its value has been brought
  /// together; else CF is set.
  private(set) var readAcross: [UInt64] = []
  /// The same for an operand to be written: `held[0]` is its value. It is written if CF is clear.
  private(set) var writeAcross: [UInt64] = []
  private var exits: [UInt64] = []
  private let hasAVX: Bool
  /// Whether who enters host code says where, and hears where it was left: see Comparison.swift.
  private let isCompared: Bool

  func exit(_ flags: Flags, _ successor: Successor) -> UInt64 {
    exits[
      Flags.allCases.firstIndex(of: flags)! * Successor.allCases.count
        + Successor.allCases.firstIndex(of: successor)!]
  }

  /// Writes the gates.
  ///
  /// - Parameters:
  ///   - hasAVX: whether the host has YMM registers.
  ///   - isCompared: whether host code is compared with the interpreter.
  init(_ a: inout Assembler, hasAVX: Bool, isCompared: Bool) {
    self.hasAVX = hasAVX
    self.isCompared = isCompared
    storeX87 = a.here
    writeX87Store(&a)
    for flags in Flags.allCases {
      for successor in Successor.allCases {
        exits.append(a.here)
        writeExit(&a, flags, successor)
      }
    }
    enterWithoutFlags = a.here
    writeEntry(&a, withFlags: false)
    enter = a.here
    writeEntry(&a, withFlags: true)
    leaving = a.here
    writeLeaving(&a)
    loadVectors = a.here
    writeVectorLoad(&a)
    loadX87 = a.here
    writeX87Load(&a)
    for isUser in [false, true] {
      for bytes in [2, 4, 8] {
        readAcross.append(a.here)
        writeCrossing(&a, bytes: bytes, isUser: isUser, isWrite: false)
        writeAcross.append(a.here)
        writeCrossing(&a, bytes: bytes, isUser: isUser, isWrite: true)
      }
    }
  }

  /// Which of `readAcross` and `writeAcross` serves an operand; `nil` if none does.
  func crossing(bytes: Int, isUser: Bool) -> Int? {
    [2, 4, 8].firstIndex(of: bytes).map { $0 + (isUser ? 3 : 0) }
  }

  /// Counts the visit. With the next one the op would be hot: then the run loop goes on, which counts that one and has
  /// the code translated.
  private func writeLeaving(_ a: inout Assembler) {
    let visits = Address(.r11, Field.native + Field.visits)
    a.load(.r10, visits, .doubleword)
    a.arithmetic(.add, .r10, constant: 1, .doubleword)
    a.arithmetic(.cmp, .r10, Field.at(Field.hotVisits), .doubleword)
    let isHot = a.jump(if: .zero)
    a.store(visits, .r10, .doubleword)
    a.arithmetic(.sub, .r11, Field.at(Field.ops))
    a.shift(.right, .r11, 5)
    a.jump(to: exit(.saved, .run))
    a.bind(isHot)
    a.loadZeroExtended(.r10, Address(.r11, Field.opOffset), .word)
    a.arithmetic(.add, .r10, Field.at(Field.pageBase))
    a.store(Field.at(Field.rip), .r10)
    a.jump(to: exit(.saved, .loop))
  }

  private static let calleeSaved: [Register] = [.rbx, .rbp, .r12, .r13, .r14, .r15]

  // MARK: - In

  /// RDI is the processor, RSI the op.
  private func writeEntry(_ a: inout Assembler, withFlags: Bool) {
    a.arithmetic(.cmp, Address(.rdi, Field.isBlind), constant: 0, .doubleword)
    let isBlind = a.jump(if: .notZero)
    for register in Self.calleeSaved { a.push(register) }
    a.store(Address(.rdi, Field.hostStack), .rsp)
    a.move(.rsp, .rdi)
    a.move(.r10, .rsi)
    if withFlags { writeFlagSaving(&a) }
    for guest in pinned { a.load(host(guest)!, slot(guest)) }
    a.jump(through: isCompared ? Field.at(Field.comparedEntry) : Address(.r10, Field.native))
    a.bind(isBlind)
    a.jump(through: Address(.rsi, Field.native + 8))
  }

  /// From the interpreter's form to `saved_flags`: see Flags.swift there.
  private func writeFlagSaving(_ a: inout Assembler) {
    a.load(.rax, Field.at(Field.flagCarry))
    a.load(.rcx, Field.at(Field.flagResult))
    a.load(.rdx, Field.at(Field.flagDelta))
    a.arithmetic(.xor, .rdx, .rcx)
    a.arithmetic(.xor, .rsi, .rsi, .doubleword)
    a.test(.rcx, .rcx)
    a.set(.rsi, if: .zero)
    a.shift(.left, .rsi, 6, .doubleword)
    a.test(.rdx, .rdx, .byte)
    a.set(.rcx, if: .parity)
    a.zeroExtendByte(.rcx, .rcx)
    a.loadAddress(.rsi, Address(.rsi, index: .rcx, scale: 2))
    a.shift(.right, .rdx, 63)
    a.shift(.left, .rdx, 7, .doubleword)
    a.arithmetic(.or, .rsi, .rdx, .doubleword)  // sign
    a.move(.rcx, .rax)
    a.shift(.right, .rcx, 63)
    a.arithmetic(.or, .rsi, .rcx, .doubleword)  // carry
    a.move(.rcx, .rax, .doubleword)
    a.arithmetic(.and, .rcx, constant: 8, .doubleword)
    a.loadAddress(.rsi, Address(.rsi, index: .rcx, scale: 1))  // auxiliary carry
    a.shift(.left, .rsi, 8, .doubleword)
    a.loadAddress(.rcx, Address(.rax, index: .rax, scale: 0))
    a.arithmetic(.xor, .rcx, .rax)
    a.shift(.right, .rcx, 63)
    a.arithmetic(.or, .rsi, .rcx, .doubleword)  // overflow
    a.store(Field.at(Field.savedFlags), .rsi, .word)
  }

  // MARK: - Out

  private func writeExit(_ a: inout Assembler, _ flags: Flags, _ successor: Successor) {
    a.store(slot(0), .rax)
    switch flags {
    case .live:
      a.loadFlags()
      a.set(.rax, if: .overflow)
    case .saved: a.loadZeroExtended(.rax, Field.at(Field.savedFlags), .word)
    case .dead: break
    }
    for guest in pinned where guest != 0 { a.store(slot(guest), host(guest)!) }
    if flags != .dead { writeFlagSpreading(&a) }
    a.arithmetic(.cmp, Field.at(Field.hasVectors), constant: 0, .doubleword)
    let hasNone = a.jump(if: .zero)
    writeVectorStore(&a)
    a.bind(hasNone)
    a.arithmetic(.cmp, Field.at(Field.hasX87), constant: 0, .doubleword)
    let hasNoX87 = a.jump(if: .zero)
    a.call(storeX87)
    a.bind(hasNoX87)
    if successor != .loop {
      a.shift(.left, .r11, 5)
      a.arithmetic(.add, .r11, Field.at(Field.ops))
    }
    a.move(.rdi, .rsp)
    a.load(.rsp, Field.at(Field.hostStack))
    for register in Self.calleeSaved.reversed() { a.pop(register) }
    if isCompared { return writeComparedExit(&a, successor) }
    switch successor {
    case .loop: a.returnNear()
    case .handler, .run:
      a.move(.rsi, .r11)
      a.jump(through: Address(.rsi, successor == .run ? 0 : Field.native + 8))
    }
  }

  /// Says where host code was left, and returns to who entered it.
  private func writeComparedExit(_ a: inout Assembler, _ successor: Successor) {
    let place = Address(.rdi, Field.comparedExit)
    switch successor {
    case .loop: a.storeConstant(place, 0)
    case .handler: a.store(place, .r11)
    case .run:
      a.loadAddress(.r11, Address(.r11, 1))
      a.store(place, .r11)
    }
    a.returnNear()
  }

  /// From AH and AL, as LAHF and SETO leave them, to the interpreter's form.
  private func writeFlagSpreading(_ a: inout Assembler) {
    a.zeroExtendSecondByte(.rcx, of: .rax)
    a.zeroExtendByte(.rax, .rax)
    a.move(.rdx, .rcx, .doubleword)
    a.arithmetic(.and, .rdx, constant: 0x40, .doubleword)
    a.arithmetic(.xor, .rdx, constant: 0x40, .doubleword)
    a.shift(.left, .rdx, 2, .doubleword)
    a.store(Field.at(Field.flagResult), .rdx)
    a.move(.rdx, .rcx, .doubleword)
    a.shift(.right, .rdx, 7, .doubleword)
    a.shift(.left, .rdx, 63)
    a.move(.rsi, .rcx, .doubleword)
    a.shift(.right, .rsi, 2, .doubleword)
    a.arithmetic(.and, .rsi, constant: 1, .doubleword)
    a.arithmetic(.xor, .rsi, constant: 1, .doubleword)
    a.arithmetic(.or, .rdx, .rsi)
    a.store(Field.at(Field.flagDelta), .rdx)
    a.move(.rdx, .rcx, .doubleword)
    a.arithmetic(.and, .rdx, constant: 1, .doubleword)
    a.arithmetic(.xor, .rax, .rdx, .doubleword)
    a.loadAddress(.rdx, Address(.rax, index: .rdx, scale: 1))
    a.shift(.left, .rdx, 62)
    a.arithmetic(.and, .rcx, constant: 0x10, .doubleword)
    a.shift(.right, .rcx, 1, .doubleword)
    a.arithmetic(.or, .rdx, .rcx)
    a.store(Field.at(Field.flagCarry), .rdx)
  }

  // MARK: - Vector registers

  private func lower(_ number: Int, _ shift: Int = 0) -> Address {
    Address(.rsp, Field.vectors + 16 * number + shift)
  }

  private func upper(_ number: Int, _ shift: Int = 0) -> Address {
    lower(number + Int(X86_VECTOR_UPPER), shift)
  }

  private func writeVectorStore(_ a: inout Assembler) {
    for number in 0..<16 {
      if hasAVX {
        a.vexInstruction(
          map: 1, pp: 1, isW: false, isWide: false, opcode: 0x7f, reg: UInt8(number), vvvv: 0,
          .memory(lower(number)))  // VMOVDQA
        a.vexInstruction(
          map: 3, pp: 1, isW: false, isWide: true, opcode: 0x19, reg: UInt8(number), vvvv: 0,
          .memory(upper(number)))  // VEXTRACTF128
        a.byte(1)
      } else {
        a.instruction(.init(0x29, map: 1), reg: UInt8(number), .memory(lower(number)))  // MOVAPS
      }
    }
    if hasAVX {
      // VZEROUPPER
      a.byte(0xc5)
      a.byte(0xf8)
      a.byte(0x77)
    }
    a.storeConstant(Field.at(Field.hasVectors), 0, .doubleword)
  }

  private func writeVectorLoad(_ a: inout Assembler) {
    // The return address lies between.
    a.load(.r10, Address(.rsp, Field.mxcsr + 8), .doubleword)
    a.not(.r10, .doubleword)
    a.test(.r10, constant: 0x1f80, .doubleword)
    let isUnmasked = a.jump(if: .notZero)
    for number in 0..<16 {
      if hasAVX {
        a.vexInstruction(
          map: 1, pp: 1, isW: false, isWide: false, opcode: 0x6f, reg: UInt8(number), vvvv: 0,
          .memory(lower(number, 8)))
        a.vexInstruction(
          map: 3, pp: 1, isW: false, isWide: true, opcode: 0x18, reg: UInt8(number),
          vvvv: UInt8(number), .memory(upper(number, 8)))  // VINSERTF128
        a.byte(1)
      } else {
        a.instruction(.init(0x28, map: 1), reg: UInt8(number), .memory(lower(number, 8)))
      }
    }
    a.storeConstant(Address(.rsp, Field.hasVectors + 8), 1, .doubleword)
    a.returnNear()
    a.bind(isUnmasked)
    a.loadAddress(.rsp, Address(.rsp, 8))
    a.jump(to: exit(.saved, .handler))
  }
}
