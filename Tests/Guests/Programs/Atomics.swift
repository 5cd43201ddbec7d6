import Arch

/// Operations with LOCK by all processors at once: not one is lost.
enum Atomics {
  static func run() -> Never {
    let count = Processors.count
    Processors.start()
    let total = count * turns

    Processors.run(on: count) { _ in for _ in 0..<turns { _ = locked_exchange_add(sum.address, 1) }
    }
    expect("LOCK XADD", sum.value, is: total)

    sum.value = 0
    Processors.run(on: count) { _ in for _ in 0..<turns { locked_increment(sum.address) } }
    expect("LOCK INC", sum.value, is: total)

    sum.value = 0
    Processors.run(on: count) { _ in for _ in 0..<turns { locked_increment32(sum.address + 4) } }
    expect("LOCK INC of a doubleword", sum.value, is: total << 32)

    sum.value = 0
    Processors.run(on: count) { number in
      for _ in 0..<turns { locked_increment8(sum.address + number) }
    }
    nonisolated(unsafe) var bytes: UInt64 = 0
    for number in 0..<count { bytes |= (turns & 0xff) << (8 * number) }
    expect("LOCK INC of neighbouring bytes", sum.value, is: bytes)

    sum.value = 0
    Processors.run(on: count) { number in
      for _ in 0..<turns { locked_add(sum.address, 1 << (16 * number)) }
    }
    expect(
      "LOCK ADD", sum.value,
      is: count > 3 ? turns &* 0x1_0001_0001_0001 : count == 2 ? turns * 0x1_0001 : turns)

    sum.value = 0
    Processors.run(on: count) { _ in
      for _ in 0..<turns / 2 {
        while true {
          let old = sum.value
          if locked_compare_exchange(sum.address, old, old + 3) != 0 { break }
        }
      }
    }
    expect("LOCK CMPXCHG", sum.value, is: total / 2 * 3)

    sum.value = 0
    Processors.run(on: count) { _ in for _ in 0..<turns / 2 { locked_increment_pair(sum.address) } }
    expect("LOCK CMPXCHG16B, low half", sum.value, is: total / 2)
    expect("LOCK CMPXCHG16B, high half", load64(sum.address + 8), is: total / 2)

    sum.value = 0
    Processors.run(on: count) { _ in
      for _ in 0..<turns / 8 {
        while exchange(lock.address, 1) != 0 { spin_pause() }
        sum.value = sum.value + 1
        lock.value = 0
      }
    }
    expect("additions under a lock taken by XCHG", sum.value, is: total / 8)

    // Bits of one word, each set by exactly one processor.
    Processors.run(on: count) { _ in
      for word in 0..<UInt64(1000) {
        for bit in 0..<UInt64(4)
        where locked_bit_set(field.address + 8 * (word & 7), bit + word / 8 % 16 * 4) == 0 {
          locked_increment(won.address)
        }
      }
    }
    expect("LOCK BTS gives each bit to one", won.value, is: 8 * 64)

    // Over the border of two cache lines, and of two pages.
    let split = Pool.pages(2)
    target.value = split + 60
    Processors.run(on: count) { _ in
      for _ in 0..<turns / 20 { _ = locked_exchange_add(target.value, 1) }
    }
    expect("LOCK XADD over a cache line's border", load64(split + 60), is: total / 20)
    target.value = split + 4092
    Processors.run(on: count) { _ in
      for _ in 0..<turns / 20 { _ = locked_exchange_add(target.value, 0x1_0000_0001) }
    }
    expect("LOCK XADD over a page's border", load64(split + 4092), is: total / 20 * 0x1_0000_0001)
    finish()
  }
}

private var turns: UInt64 { 20_000 }
private var sum: Word { Word(0) }
private var lock: Word { Word(1) }
private var field: Word { Word(2) }
private var won: Word { Word(3) }
private var target: Word { Word(4) }
