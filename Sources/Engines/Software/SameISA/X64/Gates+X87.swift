import X86Processor

// The x87 FPU's way into the host's and back. `X87State` keeps registers by their fixed numbers, as FLD fills them if
// it starts with the last; FXSAVE, which is several times as fast as FSAVE and XSAVE, counts them from the top of the
// stack.
//
// While the guest's state is in the host's FPU, that notes addresses of host code where the guest's last instruction and
// operand lay. They are not taken back: the guest finds those of the last instruction that the interpreter ran, which
// are exact whenever an exception is unmasked. Processors of AMD's do not save them at all unless one is pending: APM
// Vol. 5 "FXSAVE".
extension Gates {
  /// Distances in an image of FXSAVE: SDM Vol. 1 Table 10-2.
  private enum Image {
    static let status = 2
    static let tags = 4
    static let registers = 32
    /// Behind what the processor writes.
    static let own = 464
  }

  /// The control word that the host's code expects.
  private static let initialControl: Int32 = 0x37f

  /// R11 is kept, and no general register that holds the guest's is lost.
  func writeX87Load(_ a: inout Assembler) {
    // The return address lies between, then RAX.
    func at(_ distance: Int) -> Address { Address(.rsp, distance + 8) }
    a.loadZeroExtended(.r10, at(Field.x87 + X87Layout.control), .word)
    a.not(.r10, .doubleword)
    // With all exceptions masked none is pending.
    a.test(.r10, constant: 0x3f, .doubleword)
    let isUnmasked = a.jump(if: .notZero)
    a.push(.rax)
    func below(_ distance: Int) -> Address { at(distance + 8) }
    emptyStack(&a)
    for number in (0..<8).reversed() {
      a.instruction(
        .init(0xdb), reg: 5, .memory(below(Field.x87 + X87Layout.registers + 16 * number)))  // FLD
    }
    // What FLDENV takes: SDM Vol. 1 Figure 8-9. Each empty register has two bits in its tag word.
    let image = Field.x87Image
    a.loadZeroExtended(.rax, below(Field.x87 + X87Layout.control), .word)
    a.store(below(image), .rax, .doubleword)
    a.loadZeroExtended(.rax, below(Field.x87 + X87Layout.status), .word)
    a.store(below(image + 4), .rax, .doubleword)
    a.loadZeroExtended(.rax, below(Field.x87 + X87Layout.tags), .byte)
    a.arithmetic(.xor, .rax, constant: 0xff, .doubleword)
    for (count, mask) in [(4, 0x0f0f), (2, 0x3333), (1, 0x5555)] as [(UInt8, Int32)] {
      a.move(.r10, .rax, .doubleword)
      a.shift(.left, .r10, count, .doubleword)
      a.arithmetic(.or, .rax, .r10, .doubleword)
      a.arithmetic(.and, .rax, constant: mask, .doubleword)
    }
    a.loadAddress(.rax, Address(.rax, index: .rax, scale: 1))
    a.store(below(image + 8), .rax, .doubleword)
    a.storeConstant(below(image + 12), 0)
    a.storeConstant(below(image + 20), 0)
    a.instruction(.init(0xd9), reg: 4, .memory(below(image)))  // FLDENV
    a.pop(.rax)
    a.storeConstant(at(Field.hasX87), 1, .doubleword)
    a.returnNear()
    a.bind(isUnmasked)
    a.loadAddress(.rsp, Address(.rsp, 8))
    a.jump(to: exit(.saved, .handler))
  }

  /// RAX, RCX, RDX and RSI are lost.
  func writeX87Store(_ a: inout Assembler) {
    // The return address lies between.
    func at(_ distance: Int) -> Address { Address(.rsp, distance + 8) }
    let image = Field.x87Image
    a.instruction(.init(0xae, map: 1), reg: 0, .memory(at(image)))  // FXSAVE
    emptyStack(&a)
    a.storeConstant(at(image + Image.own), Self.initialControl, .word)
    a.instruction(.init(0xd9), reg: 5, .memory(at(image + Image.own)))  // FLDCW
    a.storeConstant(at(Field.hasX87), 0, .doubleword)
    a.load(.rax, at(image + Image.tags), .doubleword)
    a.store(at(Field.x87 + X87Layout.tags), .rax, .byte)
    a.load(.rax, at(image), .doubleword)
    a.store(at(Field.x87 + X87Layout.control), .rax, .word)
    a.shift(.right, .rax, UInt8(8 * Image.status), .doubleword)
    a.store(at(Field.x87 + X87Layout.status), .rax, .word)
    // Sixteen times the number of the register at the top.
    a.shift(.right, .rax, 11 - 4, .doubleword)
    for index in 0..<8 {
      a.loadAddress(.rcx, Address(.rax, 16 * index))
      a.arithmetic(.and, .rcx, constant: 0x70, .doubleword)
      for half in [0, 8] {
        let register: Register = half == 0 ? .rdx : .rsi
        a.load(register, at(image + Image.registers + 16 * index + half))
        a.store(
          Address(.rsp, index: .rcx, Field.x87 + X87Layout.registers + half + 8), register)
      }
    }
    a.returnNear()
  }

  /// EMMS: no register is full, and the top of the stack is the first: SDM Vol. 3A §13.2. It is many times as fast
  /// as FNINIT; it leaves the control word.
  private func emptyStack(_ a: inout Assembler) {
    a.byte(0x0f)
    a.byte(0x77)
  }
}
