import Arch

/// Each exception arrives with its vector, error code and address, on the stack it should.
enum Exceptions {
  static func run() -> Never {
    let control = read_cr0()
    for index in 0..<fault_case_count() {
      let row = fault_case(index)
      if row.tcg_departs != 0, Machine.isTCG { continue }
      let fault = attempted(codeAt: row.code)
      write_cr0(control)
      let right =
        fault.happened != 0 && fault.vector == row.vector && fault.error == row.error
        && fault.frame.rip == row.at
      if !right { describe(fault, off: fault.frame.rip &- row.at) }
      expect(.characters(at: row.name), right)
    }
    gates()
    stacks()
    doubleFaults()
    handlers()
    finish()
  }

  private static func gates() {
    set_gate(0xc8, 0x0e, 0)
    expect(
      "gate not present", attempted { _ in raise_c8() }, vector: 11, error: Machine.gateError(0xc8))
    set_gate(0xc8, 0x8c, 0)
    expect(
      "gate of a wrong type", attempted { _ in raise_c8() }, vector: 13,
      error: Machine.gateError(0xc8))
    // An interrupt gate clears IF, a trap gate does not.
    set_gate(0xc8, 0x8f, 0)
    set_handler(0xc8) { _ in flags.value = read_flags() }
    interrupts_on()
    raise_c8()
    interrupts_off()
    expect("a trap gate leaves IF alone", flags.value & 0x200, is: 0x200)
    set_gate(0xc8, 0x8e, 0)
    interrupts_on()
    raise_c8()
    expect("an interrupt gate clears IF", flags.value & 0x200, is: 0)
    expect("IRET sets it again", read_flags() & 0x200, is: 0x200)
    interrupts_off()
    clear_handler(0xc8)
  }

  private static func stacks() {
    set_gate(0xc8, 0x8e, 3)
    set_handler(0xc8) { frame in stack.value = UInt64(UInt(bitPattern: frame)) }
    raise_c8()
    let top = interrupt_stack_top(3)
    expect("IST 3 switches to its stack", top - stack.value, is: 176)
    set_gate(0xc8, 0x8e, 0)
    raise_c8()
    expect("without IST the stack stays", stack.value > top || stack.value < top - 16384)
    expect("the frame is aligned to 16 bytes", (stack.value + 176) % 16, is: 0)
    clear_handler(0xc8)
  }

  private static func doubleFaults() {
    set_gate(8, 0x8e, 2)
    set_gate(13, 0x0e, 0)
    expect(
      "#NP while delivering #GP is a double fault",
      attempted { _ in _ = load64(0x8000_0000_0000) }, vector: 8, error: 0)
    set_gate(13, 0x8e, 0)
    let fault = attempted(codeAt: address_of_interrupt_on_bad_stack(), 0x5000_0000_1000)
    expect("#PF while delivering #PF is a double fault", fault, vector: 8, error: 0)
    expect("CR2 is the stack's", fault.address & ~0xfff, is: 0x5000_0000_0000)
    set_gate(3, 0x0e, 0)
    expect(
      "#NP while delivering #BP is just #NP", attempted(codeAt: fault_case(5).code), vector: 11,
      error: Machine.gateError(3))
    set_gate(3, 0x8e, 0)
  }

  /// A handler that itself takes an exception, and one that goes on behind the instruction.
  private static func handlers() {
    set_handler(6) { frame in
      depth.value += 1
      if depth.value < 5 { invalid() }
      frame?.pointee.rip += 2
    }
    invalid()
    expect("exceptions nest five deep and unwind", depth.value, is: 5)
    clear_handler(6)
  }
}

// What handlers leave for whoever caused the interrupt.
private var flags: Word { Word(0) }
private var stack: Word { Word(1) }
private var depth: Word { Word(2) }
