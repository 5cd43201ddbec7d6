import CProcessor
import X86Processor

// Memory operands: from a guest's address to a host's, by one entry of the TLB. A tag that is equal to the address in its
// page bits leaves the offset in the page when the two are XORed; whatever leaves more is slow, and what lies in two pages
// too.

extension Emitter {
  /// Base, index and displacement of a memory operand in host registers, as far as they are not in `register` then.
  mutating func offset(of step: Region.Step, into register: Register) -> Address {
    let i = step.instruction
    if i.isRIPRelative {
      a.load(register, Field.at(Field.pageBase))
      // Both summands are of the same page, so the sum is that of the interpreter, which wraps.
      return Address(register, Int(i.displacement &+ Int32(step.next)))
    }
    var address = Address(nil, Int(i.displacement))
    if let base = i.base {
      if let host = host(base) {
        address.base = host
      } else {
        a.load(register, slot(base))
        address.base = register
      }
    }
    if let index = i.index {
      address.scale = i.scale
      if let host = host(index) {
        address.index = host
      } else {
        a.load(scratch2, slot(index))
        address.index = scratch2
      }
    }
    return address
  }

  /// Leaves the host address of the step's memory operand in `scratch`. Flags are lost.
  ///
  /// - Parameter inParts: whether it may be the sum of both scratch registers instead, which is known sooner.
  /// - Returns: jumps to take where that is not possible; nothing has changed then but flags.
  mutating func checkedAddress(
    _ step: Region.Step, bytes: Int, write: Bool, inParts: Bool = false
  ) -> [Assembler.Fixup] {
    let i = step.instruction
    let address = offset(of: step, into: scratch)
    if let base = address.base, address.index == nil, address.displacement == 0 {
      if base != scratch { a.move(scratch, base, width) }
    } else {
      a.loadAddress(scratch, address, width)
    }
    let slow = i.isSegmented ? addBase(of: Int(i.segmentOverride!), bytes, write: write) : []
    return slow + [
      inParts ? checkParts(bytes: bytes, write: write) : check(bytes: bytes, write: write)
    ]
  }

  /// Makes an offset in FS or GS in `scratch` a linear address. In protected mode those hold all 4 GiB, or it is slow.
  private mutating func addBase(
    of segment: Int, _ bytes: Int, write: Bool
  ) -> [Assembler.Fixup] {
    let base = Field.at(Field.segmentBase + 8 * segment)
    var slow: [Assembler.Fixup] = []
    if width == .doubleword {
      // An end at 4 GiB is one in the upper half, and nothing else is.
      let end = write ? Field.segmentWriteEnd : Field.segmentReadEnd
      a.arithmetic(.cmp, Field.at(end + 8 * segment + 4), constant: 1, .doubleword)
      slow.append(a.jump(if: .notZero))
      a.arithmetic(.cmp, scratch, constant: Int32(-bytes), .doubleword)
      slow.append(a.jump(if: .above))
    }
    a.arithmetic(.add, scratch, base, width)
    return slow
  }

  /// The same for the linear address in `scratch`.
  mutating func check(bytes: Int, write: Bool) -> Assembler.Fixup {
    let slow = checkParts(bytes: bytes, write: write)
    a.arithmetic(.add, scratch, scratch2)
    return slow
  }

  /// Leaves the host address of what lies at the linear address in `scratch` as the sum of both scratch registers.
  mutating func checkParts(bytes: Int, write: Bool) -> Assembler.Fixup {
    let table = isUser ? Field.userTLB : 0
    a.findTLBEntry(of: scratch)
    a.arithmetic(
      .xor, scratch,
      Address(
        .rsp, index: scratch2, tags(write: write)))
    a.arithmetic(.cmp, scratch, constant: Int32(4096 - bytes))
    let slow = a.jump(if: .above)
    a.load(scratch2, Address(.rsp, index: scratch2, Field.pageHost + table))
    return slow
  }

  /// Where the tags lie that a check compares with.
  func tags(write: Bool) -> Int {
    (write ? Field.writeTag : Field.readTag) + (isUser ? Field.userTLB : 0)
  }

  // MARK: - Status flags around a check

  /// Keeps the host's status flags in memory. R10 is lost.
  mutating func saveFlags() {
    a.move(scratch, .rax)
    a.loadFlags()
    a.set(.rax, if: .overflow)
    a.store(Field.at(Field.savedFlags), .rax, .word)
    a.move(.rax, scratch)
  }

  /// Takes them back. R11 is lost.
  mutating func restoreFlags() {
    a.move(scratch2, .rax)
    a.loadZeroExtended(.rax, Field.at(Field.savedFlags), .word)
    a.arithmetic(.add, .rax, constant: 0x7f, .byte)
    a.storeFlags()
    a.move(.rax, scratch2)
  }
}

extension Assembler {
  /// Leaves in `scratch2` how far into the TLB the entry of an address lies: its number, times the size of an entry.
  mutating func findTLBEntry(of address: Register) {
    move(scratch2, address, .doubleword)
    shift(.right, scratch2, 7, .doubleword)
    arithmetic(.and, scratch2, constant: Int32(X86_TLB_ENTRIES - 1) << 5, .doubleword)
  }
}
