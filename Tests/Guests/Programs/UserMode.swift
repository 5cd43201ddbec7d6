import Arch

/// Ring 3: the ways in and out, and what it may not do.
enum UserMode {
  private static var code: UInt64 { 0x40_0000_0000 * 2 }
  private static var stack: UInt64 { 0x81_0000_0000 }
  private static var data: UInt64 { 0x81_0010_0000 }

  static func run() -> Never {
    map()
    interrupts()
    privileged()
    ports()
    pages()
    alignment()
    systemCalls()
    flags()
    compatibility()
    finish()
  }

  private static func map() {
    var offset: UInt64 = 0
    while offset < address_of_user_end() - address_of_user_start() {
      PageTables.map(code + offset, to: address_of_user_start() + offset, [.present, .user])
      offset += 4096
    }
    PageTables.map(stack, to: Pool.pages(), [.present, .writable, .user])
    PageTables.map(data, to: Pool.pages(), [.present, .writable, .user])
    // 80h is for ring 3, 82h is not.
    set_gate(0x80, 0xee, 0)
    set_gate(0x82, 0x8e, 0)
  }

  private static func linear(_ label: UInt64) -> UInt64 { code + label - address_of_user_start() }

  /// What a try in ring 3 starts with; C function pointers take one argument.
  private static func enter(
    _ label: UInt64, _ argument: UInt64 = 0, flags: UInt64 = 0x2, selector: UInt64 = 0x2b
  ) -> fault {
    target.value = linear(label)
    userFlags.value = flags
    userSelector.value = selector
    stackTop.value = stack + 4096
    return attempted(argument) {
      enter_user(target.value, stackTop.value, userFlags.value, userSelector.value, $0)
    }
  }

  private static func interrupts() {
    let fault = enter(address_of_user_interrupt(), 41)
    expect("INT 80h from ring 3", fault, vector: 0x80, error: 0)
    expect("brings RAX along", fault.frame.rax, is: 42)
    expect("CS is the user's", fault.frame.cs, is: 0x2b)
    expect("SS is the user's", fault.frame.ss, is: 0x23)
    expect("RSP is the user's", fault.frame.rsp, is: stack + 4096)
    expect(
      "INT to a gate of ring 0", enter(address_of_user_interrupt_reserved()), vector: 13,
      error: Machine.gateError(0x82))
  }

  private static func privileged() {
    expect("CLI", enter(address_of_user_clear_interrupts()), vector: 13, error: 0)
    expect("HLT", enter(address_of_user_halt()), vector: 13, error: 0)
    expect("MOV from CR0", enter(address_of_user_read_control()), vector: 13, error: 0)
    expect("RDMSR", enter(address_of_user_read_msr()), vector: 13, error: 0)
    expect("RDTSC is allowed", enter(address_of_user_read_tsc()), vector: 0x80, error: 0)
    write_cr4(read_cr4() | 1 << 2)
    expect("RDTSC with CR4.TSD", enter(address_of_user_read_tsc()), vector: 13, error: 0)
    write_cr4(read_cr4() & ~(1 << 2))
    expect(
      "CLI with IOPL 3", enter(address_of_user_clear_interrupts(), flags: 0x3202), vector: 0x80,
      error: 0)
  }

  private static func ports() {
    expect("IN without permission", enter(address_of_user_input(), 0x3fd), vector: 13, error: 0)
    permit_port(0x3fd, 1)
    let fault = enter(address_of_user_input(), 0x3fd)
    expect("IN with a clear bit in the TSS", fault, vector: 0x80, error: 0)
    expect("reads the port", fault.frame.rax & 0x60, is: 0x60)
    expect(
      "the next port is another matter", enter(address_of_user_input(), 0x3fe), vector: 13, error: 0
    )
    permit_port(0x3fd, 0)
    expect(
      "IN with IOPL 3", enter(address_of_user_input(), 0x3fd, flags: 0x3002), vector: 0x80, error: 0
    )
  }

  private static func pages() {
    let supervisor = data + 0x1000
    PageTables.map(supervisor, to: Pool.pages(), [.present, .writable])
    expect(
      "read, supervisor page", enter(address_of_user_load(), supervisor), pageFault: 5,
      at: supervisor)
    expect(
      "write, supervisor page", enter(address_of_user_store(), supervisor), pageFault: 7,
      at: supervisor)
    expect(
      "fetch, supervisor page", enter(address_of_user_jump(), supervisor), pageFault: 0x15,
      at: supervisor)
    let absent = data + 0x2000
    expect("read, not present", enter(address_of_user_load(), absent), pageFault: 4, at: absent)
    expect("write, not present", enter(address_of_user_store(), absent), pageFault: 6, at: absent)
    expect("fetch, not present", enter(address_of_user_jump(), absent), pageFault: 0x14, at: absent)
    expect(
      "write, read-only", enter(address_of_user_store(), code), pageFault: 7, at: code)
    expect("read of its own page", enter(address_of_user_load(), data), vector: 0x80, error: 0)
    expect("write to its own page", enter(address_of_user_store(), data), vector: 0x80, error: 0)
    // What ring 0 has just used, ring 3 may not.
    _ = load64(supervisor)
    expect(
      "read, supervisor page that ring 0 has used", enter(address_of_user_load(), supervisor),
      pageFault: 5, at: supervisor)
    expect(
      "read from a non-canonical address", enter(address_of_user_load(), 1 << 47), vector: 13,
      error: 0)
  }

  private static func alignment() {
    let odd = data + 1
    let checked: UInt64 = 0x4_0002
    write_cr0(read_cr0() | 1 << 18)
    expect("read of an odd address", enter(address_of_user_load(), odd), vector: 0x80, error: 0)
    expect(
      "the same with EFLAGS.AC", enter(address_of_user_load(), odd, flags: checked), vector: 17,
      error: 0)
    expect(
      "write with EFLAGS.AC", enter(address_of_user_store(), odd, flags: checked), vector: 17,
      error: 0)
    expect(
      "read of an even address", enter(address_of_user_load(), data, flags: checked), vector: 0x80,
      error: 0)
    write_cr0(read_cr0() & ~(1 << 18))
    expect(
      "EFLAGS.AC without CR0.AM", enter(address_of_user_load(), odd, flags: checked), vector: 0x80,
      error: 0)
  }

  private static func systemCalls() {
    write_msr(0xc000_0081, 0x001b_0008 << 32)
    write_msr(0xc000_0082, address_of_system_call_entry())
    write_msr(0xc000_0084, 0x0000_0600)
    let before = last_system_call().count
    _ = enter(address_of_user_system_call(), 0, flags: 0x602)
    let call = last_system_call()
    expect("SYSCALL arrives", call.count, is: before + 1)
    expect("RCX is the next instruction", call.rcx, is: linear(address_of_user_system_call_end()))
    expect("R11 is the caller's flags, after its XOR", call.r11, is: 0x646)
    expect("the mask clears IF and DF", call.rflags & 0x600, is: 0)
    expect("CS from STAR", call.cs, is: 0x08)
    expect("SS from STAR", call.ss, is: 0x10)
    let fault = enter(address_of_user_double(), 21)
    expect("SYSRET returns to ring 3", fault, vector: 0x80, error: 0)
    expect("with RAX", fault.frame.rax, is: 42)
    expect("CS from STAR for SYSRET", fault.frame.cs, is: 0x2b)
    expect("SS from STAR for SYSRET", fault.frame.ss, is: 0x23)
    write_msr(0xc000_0080, read_msr(0xc000_0080) & ~1)
    expect("SYSCALL without EFER.SCE", enter(address_of_user_system_call()), vector: 6, error: 0)
    write_msr(0xc000_0080, read_msr(0xc000_0080) | 1)
  }

  private static func flags() {
    let fault = enter(address_of_user_set_flags(), 0x24_7ed7 & ~0x100, flags: 0x202)
    expect("POPF in ring 3", fault, vector: 0x80, error: 0)
    expect("cannot change IOPL or IF", fault.frame.rax & 0x3200, is: 0x0200)
    expect("can change the others", fault.frame.rax & 0x24_4cd5, is: 0x24_4cd5)
    let step = enter(address_of_user_step())
    expect("single step in ring 3", step, vector: 1, error: 0)
    expect("after one instruction", step.frame.rip, is: linear(address_of_user_step_end()))
    expect("DR6.BS says so", read_dr6() & 0x4000, is: 0x4000)
  }

  private static func compatibility() {
    let fault = enter(address_of_user_compatibility(), selector: 0x1b)
    // EIP has 32 bits, so the code must lie low.
    expect("compatibility mode cannot reach above 4 GiB", fault.happened, is: 1)
    let low: UInt64 = 0x7000_0000
    PageTables.entry(for: low, level: 2).value = 0
    PageTables.reload()
    let offset = address_of_user_compatibility() - address_of_user_start()
    var directories: UInt64 = 4
    while directories >= 2 {
      PageTables.entry(for: low, level: directories).value |= directories == 2 ? 0 : 4
      directories -= 1
    }
    PageTables.map(
      low + (offset & ~0xfff), to: address_of_user_start() + (offset & ~0xfff), [.present, .user])
    target.value = low + offset
    userFlags.value = 2
    userSelector.value = 0x1b
    stackTop.value = 0
    let low32 = attempted {
      enter_user(target.value, stackTop.value, userFlags.value, userSelector.value, $0)
    }
    expect("32-bit code in compatibility mode", low32, vector: 0x80, error: 0)
    expect("40h is INC EAX there", low32.frame.rax, is: 42)
    expect("its CS", low32.frame.cs, is: 0x1b)
  }
}

// The code that enters ring 3 can be handed only one argument; these are the others.
private var target: Word { Word(0) }
private var userFlags: Word { Word(1) }
private var userSelector: Word { Word(2) }
private var stackTop: Word { Word(3) }
