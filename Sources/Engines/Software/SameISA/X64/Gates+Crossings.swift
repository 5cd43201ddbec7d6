import CProcessor

// Operands in two pages. Both must be known to the TLB; what is not is the interpreter's.

extension Gates {
  func writeCrossing(_ a: inout Assembler, bytes: Int, isUser: Bool, isWrite: Bool) {
    // The return address lies between.
    func at(_ distance: Int) -> Address { Address(.rsp, distance + 8) }
    let held = Field.held
    let table = (isUser ? Field.userTLB : 0) + 8
    let tag = (isWrite ? Field.writeTag : Field.readTag) + table
    var misses: [Assembler.Fixup] = []
    a.store(at(held + 8), .rax)
    a.store(at(held + 16), .rcx)
    a.store(at(held + 24), .rdx)
    a.move(.rax, .r10, .doubleword)
    a.arithmetic(.and, .rax, constant: 0xfff, .doubleword)
    a.arithmetic(.cmp, .rax, constant: Int32(4096 - bytes), .doubleword)
    misses.append(a.jump(if: .notAbove))
    // The host addresses of both pages in R11 and R10.
    a.arithmetic(.and, .r10, constant: -4096)
    a.findTLBEntry(of: .r10)
    a.arithmetic(.cmp, .r10, Address(.rsp, index: .r11, tag))
    misses.append(a.jump(if: .notZero))
    a.load(.rdx, Address(.rsp, index: .r11, Field.pageHost + table))
    a.arithmetic(.add, .r10, constant: 4096)
    a.findTLBEntry(of: .r10)
    a.arithmetic(.cmp, .r10, Address(.rsp, index: .r11, tag))
    misses.append(a.jump(if: .notZero))
    a.load(.r10, Address(.rsp, index: .r11, Field.pageHost + table))
    if isWrite {
      writeBytes(&a, bytes: bytes)
    } else {
      gatherBytes(&a)
    }
    a.load(.rax, at(held + 8))
    a.load(.rcx, at(held + 16))
    a.load(.rdx, at(held + 24))
    if !isWrite { a.loadAddress(.r10, at(held)) }
    a.byte(0xf8)  // CLC
    a.returnNear()
    for miss in misses { a.bind(miss) }
    a.load(.rax, at(held + 8))
    a.load(.rcx, at(held + 16))
    a.load(.rdx, at(held + 24))
    a.byte(0xf9)  // STC
    a.returnNear()
  }

  /// RAX is the offset in the first page, which RDX is; R10 is the second. Both are read in whole quadwords.
  private func gatherBytes(_ a: inout Assembler) {
    // The first page's last bytes, and as many bits as they are not wanted: 8 × (offset - 4088).
    a.load(.rdx, Address(.rdx, 4088))
    a.loadAddress(.rcx, Address(nil, index: .rax, scale: 3, -8 * 4088))
    a.byte(0x48)
    a.byte(0xd3)
    a.byte(0xea)  // SHR RDX, CL
    a.load(.r10, Address(.r10))
    // 64 minus those: never 64, because the operand starts in the first page and ends in the second.
    a.byte(0xf7)
    a.byte(0xd9)  // NEG ECX
    a.byte(0x49)
    a.byte(0xd3)
    a.byte(0xe2)  // SHL R10, CL
    a.arithmetic(.or, .rdx, .r10)
    a.store(Address(.rsp, Field.held + 8), .rdx)
  }

  /// Byte by byte, so that no other is touched.
  private func writeBytes(_ a: inout Assembler, bytes: Int) {
    a.load(.rcx, Address(.rsp, Field.held + 8))
    for number in 0..<bytes {
      // In the second page from where the first ends.
      if number > 0 {
        a.arithmetic(.cmp, .rax, constant: 4096, .doubleword)
        let stays = a.jump(if: .notZero)
        a.loadAddress(.rdx, Address(.r10, -4096))
        a.bind(stays)
      }
      a.store(Address(.rdx, index: .rax), .rcx, .byte)
      a.shift(.right, .rcx, 8)
      a.arithmetic(.add, .rax, constant: 1, .doubleword)
    }
  }
}
