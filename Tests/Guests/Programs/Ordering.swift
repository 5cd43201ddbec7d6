import Arch

/// What one processor may see of another's accesses (SDM vol. 3A §9.2.3): small programs run many times,
/// each on words of its own, and the outcomes counted that the order forbids.
enum Ordering {
  static func run() -> Never {
    let count = Processors.count
    Processors.start()
    guard count >= 2 else { fail("ordering needs two processors") }

    // §9.2.3.4: a store may wait while a later load of another word goes ahead.
    let relaxed = outcomes(2, storeBuffering)
    note("store buffering seen", .decimal(relaxed))
    expect("store buffering, with MFENCE: never", outcomes(2, fencedStoreBuffering), is: 0)
    expect("store buffering, with XCHG: never", outcomes(2, exchangedStoreBuffering), is: 0)
    expect("§9.2.3.2 message passing: stores stay in order", outcomes(2, messagePassing), is: 0)
    expect(
      "§9.2.3.3 load buffering: no store before an older load", outcomes(2, loadBuffering), is: 0)
    if count >= 3 {
      expect("§9.2.3.6 stores are transitively visible", outcomes(3, transitivity), is: 0)
    } else {
      skip("transitivity needs three processors")
    }
    if count >= 4 {
      expect("§9.2.3.7 all see two stores in one order", outcomes(4, independentReads), is: 0)
    } else {
      skip("independent reads of independent writes need four processors")
    }
    finish()
  }

  /// Runs `program` on `count` processors over fresh words, several times; counts what `verdict` finds.
  private static func outcomes(_ count: UInt64, _ program: Program) -> UInt64 {
    var forbidden: UInt64 = 0
    for _ in 0..<rounds {
      fill_bytes(words, 0, iterations * 64)
      starting.value = 0
      participants.value = count
      Processors.run(on: count, program.run)
      for index in 0..<iterations where program.isForbidden(words + 64 * index) { forbidden += 1 }
    }
    return forbidden
  }
}

/// A program and the outcome it looks for. Of the 64 bytes of each iteration, x and y are the first two
/// words, in different halves, and what was read are the last.
private struct Program {
  let run: Processors.Work
  let isForbidden: (UInt64) -> Bool
}

private var iterations: UInt64 { 2000 }
private var rounds: UInt64 { 10 }
/// Memory that nothing else uses.
private var words: UInt64 { 0x280_0000 }
private var starting: Word { Word(0) }
private var participants: Word { Word(1) }

/// All begin at once, and stay close by meeting again every 50 iterations.
private func forEachIteration(_ body: (UInt64) -> Void) {
  for index in 0..<iterations {
    if index % 50 == 0 {
      locked_increment(starting.address)
      let all = (index / 50 + 1) * participants.value
      while starting.value < all { spin_pause() }
    }
    body(words + 64 * index)
  }
}

private func x(_ at: UInt64) -> UInt64 { at }
private func y(_ at: UInt64) -> UInt64 { at + 8 }
private func result(_ at: UInt64, _ index: UInt64) -> UInt64 { at + 16 + 8 * index }

private var storeBuffering: Program {
  Program(
    run: { number in
      forEachIteration { at in
        store64(number == 0 ? x(at) : y(at), 1)
        store64(result(at, number), load64(number == 0 ? y(at) : x(at)) + 1)
      }
    }, isForbidden: { load64(result($0, 0)) == 1 && load64(result($0, 1)) == 1 })
}

private var fencedStoreBuffering: Program {
  Program(
    run: { number in
      forEachIteration { at in
        store64(number == 0 ? x(at) : y(at), 1)
        memory_fence()
        store64(result(at, number), load64(number == 0 ? y(at) : x(at)) + 1)
      }
    }, isForbidden: { load64(result($0, 0)) == 1 && load64(result($0, 1)) == 1 })
}

private var exchangedStoreBuffering: Program {
  Program(
    run: { number in
      forEachIteration { at in
        _ = exchange(number == 0 ? x(at) : y(at), 1)
        store64(result(at, number), load64(number == 0 ? y(at) : x(at)) + 1)
      }
    }, isForbidden: { load64(result($0, 0)) == 1 && load64(result($0, 1)) == 1 })
}

private var messagePassing: Program {
  Program(
    run: { number in
      forEachIteration { at in
        if number == 0 {
          store64(x(at), 1)
          store64(y(at), 1)
        } else {
          let flag = load64(y(at))
          let data = load64(x(at))
          store64(result(at, 0), flag)
          store64(result(at, 1), data)
        }
      }
    }, isForbidden: { load64(result($0, 0)) == 1 && load64(result($0, 1)) == 0 })
}

private var loadBuffering: Program {
  Program(
    run: { number in
      forEachIteration { at in
        let seen = load64(number == 0 ? x(at) : y(at))
        store64(number == 0 ? y(at) : x(at), 1)
        store64(result(at, number), seen)
      }
    }, isForbidden: { load64(result($0, 0)) == 1 && load64(result($0, 1)) == 1 })
}

private var transitivity: Program {
  Program(
    run: { number in
      forEachIteration { at in
        switch number {
        case 0: store64(x(at), 1)
        case 1:
          let seen = load64(x(at))
          store64(y(at), 1)
          store64(result(at, 0), seen)
        default:
          let second = load64(y(at))
          let first = load64(x(at))
          store64(result(at, 1), second)
          store64(result(at, 2), first)
        }
      }
    },
    isForbidden: {
      load64(result($0, 0)) == 1 && load64(result($0, 1)) == 1 && load64(result($0, 2)) == 0
    })
}

private var independentReads: Program {
  Program(
    run: { number in
      forEachIteration { at in
        switch number {
        case 0: store64(x(at), 1)
        case 1: store64(y(at), 1)
        case 2:
          let first = load64(x(at))
          let second = load64(y(at))
          store64(result(at, 0), first)
          store64(result(at, 1), second)
        default:
          let first = load64(y(at))
          let second = load64(x(at))
          store64(result(at, 2), first)
          store64(result(at, 3), second)
        }
      }
    },
    isForbidden: {
      load64(result($0, 0)) == 1 && load64(result($0, 1)) == 0 && load64(result($0, 2)) == 1
        && load64(result($0, 3)) == 0
    })
}
