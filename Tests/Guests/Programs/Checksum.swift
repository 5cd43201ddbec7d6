import Arch

/// Goes on with a sequence of numbers until something comes in on COM1, then checks all that it left behind: its last
/// number, its sum in a vector register, and its sum in memory, against what they must be after as many steps.
enum Checksum {
  private static let multiplier: UInt64 = 6_364_136_223_846_793_005
  private static let increment: UInt64 = 1_442_695_040_888_963_407
  private static let stepsAtOnce: UInt64 = 1000

  static func run() -> Never {
    let table = Pool.pages()
    let sum = Pool.pages()
    var number: UInt64 = 1
    var steps: UInt64 = 0
    line("note the sequence has begun")
    while in8(0x3fd) & 1 == 0 {
      number = checksum_steps(number, table, sum, stepsAtOnce)
      steps += stepsAtOnce
    }
    var total: UInt64 = 0
    for index in 0..<UInt64(512) { total &+= load64(table + index * 8) }
    let expected = After(steps)
    expect("the last number", number, is: expected.number)
    expect("the sum in XMM0", load64(sum), is: expected.sum)
    expect("the sum in memory", total, is: expected.sum)
    note("steps", .decimal(steps))
    finish()
  }

  /// Where the sequence is after some steps, found by squaring: a step takes (number, sum, 1) to a linear function of
  /// it, and so do 2, 4, 8 and more steps.
  private struct After {
    var number: UInt64 = 1
    var sum: UInt64 = 0

    init(_ steps: UInt64) {
      // number' = a·number + b; sum' = sum + c·number + d.
      var (a, b) = (Checksum.multiplier, Checksum.increment)
      var (c, d) = (a, b)
      var rest = steps
      while rest != 0 {
        if rest & 1 != 0 {
          sum = sum &+ c &* number &+ d
          number = a &* number &+ b
        }
        // Twice as many steps.
        (c, d) = (c &+ c &* a, d &+ c &* b &+ d)
        (a, b) = (a &* a, a &* b &+ b)
        rest >>= 1
      }
    }
  }
}
