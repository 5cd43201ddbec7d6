import Arch

/// Runs `code`, which may end in an exception; tells which.
func attempted(_ argument: UInt64 = 0, _ code: @convention(c) (UInt64) -> Void) -> fault {
  forget_fault()
  attempt(code, argument)
  return last_fault()
}

/// The same for code at an address.
func attempted(codeAt address: UInt64, _ argument: UInt64 = 0) -> fault {
  forget_fault()
  attempt_at(address, argument)
  return last_fault()
}

/// Checks that `fault` was this exception.
func expect(_ what: Text, _ fault: fault, vector: UInt64, error: UInt64) {
  let right = fault.happened != 0 && fault.vector == vector && fault.error == error
  if !right { describe(fault, off: 0) }
  expect(what, right)
}

func describe(_ fault: fault, off: UInt64) {
  if fault.happened == 0 { return line("     no exception") }
  line(
    "     vector ", .decimal(fault.vector), ", error ", .hex(fault.error), ", CR2 ",
    .hex(fault.address), ", at ", .hex(fault.frame.rip), ", off by ", .hex(off))
}

/// Checks for a page fault and where it was.
func expect(_ what: Text, _ fault: fault, pageFault error: UInt64, at address: UInt64) {
  if fault.happened != 0, fault.vector == 14, fault.address != address {
    line("     CR2 ", .hex(fault.address))
    return expect(what, false)
  }
  expect(what, fault, vector: 14, error: error)
}
