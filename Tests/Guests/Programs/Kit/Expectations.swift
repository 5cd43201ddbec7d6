import Arch

/// What a guest found out, line by line; the counts at the end say how it went.
enum Report {
  nonisolated(unsafe) static var passed: UInt64 = 0
  nonisolated(unsafe) static var failed: UInt64 = 0
  nonisolated(unsafe) static var skipped: UInt64 = 0
}

@inline(never)
func expect(_ what: Text, _ holds: Bool) {
  if holds {
    Report.passed += 1
    line("ok   ", what)
  } else {
    Report.failed += 1
    line("FAIL ", what)
  }
}

@inline(never)
func expect(_ what: Text, _ value: some BinaryInteger, is expected: UInt64) {
  let value = UInt64(truncatingIfNeeded: value)
  if value == expected { return expect(what, true) }
  Report.failed += 1
  line(
    "FAIL ", what, ": ", .hex(value), ", expected ",
    .hex(expected))
}

@inline(never)
func expect(_ what: Text, _ value: UInt64, in range: ClosedRange<UInt64>) {
  if range.contains(value) { return expect(what, true) }
  Report.failed += 1
  line(
    "FAIL ", what, ": ", .decimal(value), ", expected ",
    .decimal(range.lowerBound), " to ", .decimal(range.upperBound))
}

/// Names something this machine does not have.
@inline(never)
func skip(_ what: Text) {
  Report.skipped += 1
  line("skip ", what)
}

/// Tells a figure that may be anything.
@inline(never)
func note(_ what: Text, _ value: Text) {
  line("note ", what, ": ", value)
}

/// How a guest ends: a last line, and a value for the ISA debug exit device.
func finish() -> Never {
  line(
    "end  ", .decimal(Report.passed), " passed, ",
    .decimal(Report.failed), " failed, ", .decimal(Report.skipped),
    " skipped")
  leave(Report.failed == 0 ? 0x10 : 0x11)
}

func leave(_ value: UInt32) -> Never {
  out32(0xf4, value)
  stop_forever()
}

func fail(_ why: Text) -> Never {
  expect(why, false)
  finish()
}

/// An interrupt that nobody asked for ends the guest.
@c(unexpected_interrupt) public func unexpectedInterrupt(_ frame: UnsafeMutablePointer<frame>) {
  line(
    "FAIL unexpected interrupt ", .decimal(frame.pointee.vector),
    ", error ", .hex(frame.pointee.error), ", at ",
    .hex(frame.pointee.rip), ", CR2 ", .hex(read_cr2()))
  leave(0x12)
}
