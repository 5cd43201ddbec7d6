import Arch

/// Code that changes while it runs: by itself, through another mapping, by another processor, by a string
/// instruction, and by a change of the page tables.
enum SelfModifying {
  static func run() -> Never {
    betweenCalls()
    nextInstruction()
    ownLoop()
    throughAlias()
    overBorder()
    byStrings()
    dataBesideCode()
    if Processors.count > 1 { crossModifying() } else { skip("no second processor") }
    finish()
  }

  /// Writes the code of a function that returns `value`: MOV EAX, value; RET.
  private static func writeFunction(at address: UInt64, returning value: UInt32) {
    store8(address, 0xb8)
    store32(address + 1, value)
    store8(address + 5, 0xc3)
  }

  private static func betweenCalls() {
    let code = Pool.pages()
    var wrong: UInt64 = 0
    for round in 0..<UInt32(2000) {
      writeFunction(at: code, returning: round)
      if call_code(code, 0) != UInt64(round) { wrong += 1 }
    }
    expect("a function rewritten before each call", wrong, is: 0)
  }

  /// The instruction writes into the one behind it, which is already fetched.
  private static func nextInstruction() {
    let code = Pool.pages()
    // MOV BYTE [RIP + 1], 42h; MOV EAX, 0; RET
    store64(code, 0xb842_0000_0001_05c6)
    store32(code + 8, 0)
    store8(code + 12, 0xc3)
    expect("an instruction that changes the next", call_code(code, 0), is: 0x42)
    store8(code + 8, 0)
    expect("again", call_code(code, 0), is: 0x42)
  }

  /// A loop that adds an immediate to EAX and increments that immediate: 0 + 1 + … + 99.
  private static func ownLoop() {
    let code = Pool.pages()
    let bytes: [UInt8] = [
      0x31, 0xc0,  // XOR EAX, EAX
      0xb9, 100, 0, 0, 0,  // MOV ECX, 100
      0x05, 0, 0, 0, 0,  // ADD EAX, imm32
      0xff, 0x05, 0xf6, 0xff, 0xff, 0xff,  // INC DWORD [RIP - 10]: that immediate
      0xff, 0xc9,  // DEC ECX
      0x75, 0xf1,  // JNZ to the ADD
      0xc3,
    ]
    for (index, byte) in bytes.enumerated() { store8(code + UInt64(index), byte) }
    expect("a loop that changes itself", call_code(code, 0), is: 4950)
    expect("and keeps the change", call_code(code, 0), is: 14950)
  }

  private static func throughAlias() {
    let frame = Pool.pages()
    let alias: UInt64 = 0xffff_a000_0000_0000
    PageTables.map(alias, to: frame, [.present, .writable])
    var wrong: UInt64 = 0
    for round in 0..<UInt32(500) {
      writeFunction(at: alias, returning: round)
      if call_code(frame, 0) != UInt64(round) { wrong += 1 }
      store32(frame + 1, ~round)
      if call_code(alias, 0) != UInt64(~round) { wrong += 1 }
    }
    expect("a function rewritten through another mapping", wrong, is: 0)
    // The same linear address, now another frame.
    let other = Pool.pages()
    writeFunction(at: frame, returning: 1)
    writeFunction(at: other, returning: 2)
    wrong = 0
    for round in 0..<UInt64(200) {
      PageTables.map(alias, to: round & 1 == 0 ? frame : other, [.present])
      if call_code(alias, 0) != 1 + round & 1 { wrong += 1 }
    }
    expect("a mapping that alternates between two functions", wrong, is: 0)
  }

  private static func overBorder() {
    let code = Pool.pages(2) + 4094
    var wrong: UInt64 = 0
    for round in 0..<UInt32(500) {
      writeFunction(at: code, returning: round << 16)
      if call_code(code, 0) != UInt64(round) << 16 { wrong += 1 }
      store8(code + 4, 0x55)
      if call_code(code, 0) != UInt64(round << 16 & 0xff_ffff | 0x5500_0000) { wrong += 1 }
    }
    expect("an instruction over a border, its second part rewritten", wrong, is: 0)
  }

  private static func byStrings() {
    let code = Pool.pages()
    let first = Pool.pages()
    let second = Pool.pages()
    writeFunction(at: first + 0x100, returning: 1)
    writeFunction(at: second + 0x100, returning: 2)
    copy_bytes(code, first, 4096)
    expect("a function copied by REP MOVSB", call_code(code + 0x100, 0), is: 1)
    copy_bytes(code, second, 4096)
    expect("another copied over it", call_code(code + 0x100, 0), is: 2)
    fill_bytes(code + 0x101, 0x11, 4)
    expect("and REP STOSB over its immediate", call_code(code + 0x100, 0), is: 0x1111_1111)
    _ = locked_exchange_add(code + 0xff, 0x100_0000)
    expect("and LOCK XADD", call_code(code + 0x100, 0), is: 0x1111_1211)
  }

  /// A counter in the same page, even in the same cache line, as the code that counts.
  private static func dataBesideCode() {
    let code = Pool.pages()
    let bytes: [UInt8] = [
      0xb9, 0x10, 0x27, 0, 0,  // MOV ECX, 10000
      0xff, 0x05, 0x15, 0, 0, 0,  // INC DWORD [RIP + 21]: at 20h
      0xff, 0xc9,  // DEC ECX
      0x75, 0xf6,  // JNZ
      0xc3,
    ]
    for (index, byte) in bytes.enumerated() { store8(code + UInt64(index), byte) }
    _ = call_code(code, 0)
    expect("a counter beside its code", load32(code + 0x20), is: 10000)
  }

  /// Another processor runs the function while this one changes its aligned immediate.
  private static func crossModifying() {
    Processors.start()
    let code = Pool.pages() + 3
    target.value = code
    writeFunction(at: code, returning: 0)
    seen.value = 0
    stop.value = 0
    Processors.begin(on: 2) { _ in
      while stop.value == 0 {
        _ = cpuid(0, 0)
        seen.value = call_code(target.value, 0)
      }
    }
    nonisolated(unsafe) var late: UInt64 = 0
    for round in UInt32(1)...50 {
      store32(code + 1, round)
      if !Time.wait(upTo: 2000, until: { seen.value == UInt64(round) }) { late += 1 }
    }
    stop.value = 1
    Processors.join()
    expect("another processor comes to run what was written", late, is: 0)
  }
}

private var target: Word { Word(0) }
private var seen: Word { Word(1) }
private var stop: Word { Word(2) }
