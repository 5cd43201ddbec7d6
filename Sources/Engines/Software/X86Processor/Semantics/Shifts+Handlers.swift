// ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR: by the opcode extension, then by width.

/// By a constant count.
let shiftsByConstant: [[Handler]] = [
  [
    { shiftByConstant(RotateLeft.self, UInt8.self, $0, $1) },
    { shiftByConstant(RotateLeft.self, UInt16.self, $0, $1) },
    { shiftByConstant(RotateLeft.self, UInt32.self, $0, $1) },
    { shiftByConstant(RotateLeft.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByConstant(RotateRight.self, UInt8.self, $0, $1) },
    { shiftByConstant(RotateRight.self, UInt16.self, $0, $1) },
    { shiftByConstant(RotateRight.self, UInt32.self, $0, $1) },
    { shiftByConstant(RotateRight.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByConstant(RotateLeftThroughCarry.self, UInt8.self, $0, $1) },
    { shiftByConstant(RotateLeftThroughCarry.self, UInt16.self, $0, $1) },
    { shiftByConstant(RotateLeftThroughCarry.self, UInt32.self, $0, $1) },
    { shiftByConstant(RotateLeftThroughCarry.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByConstant(RotateRightThroughCarry.self, UInt8.self, $0, $1) },
    { shiftByConstant(RotateRightThroughCarry.self, UInt16.self, $0, $1) },
    { shiftByConstant(RotateRightThroughCarry.self, UInt32.self, $0, $1) },
    { shiftByConstant(RotateRightThroughCarry.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByConstant(ShiftLeft.self, UInt8.self, $0, $1) },
    { shiftByConstant(ShiftLeft.self, UInt16.self, $0, $1) },
    { shiftByConstant(ShiftLeft.self, UInt32.self, $0, $1) },
    { shiftByConstant(ShiftLeft.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByConstant(ShiftRight.self, UInt8.self, $0, $1) },
    { shiftByConstant(ShiftRight.self, UInt16.self, $0, $1) },
    { shiftByConstant(ShiftRight.self, UInt32.self, $0, $1) },
    { shiftByConstant(ShiftRight.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByConstant(ShiftLeft.self, UInt8.self, $0, $1) },
    { shiftByConstant(ShiftLeft.self, UInt16.self, $0, $1) },
    { shiftByConstant(ShiftLeft.self, UInt32.self, $0, $1) },
    { shiftByConstant(ShiftLeft.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByConstant(ShiftRightArithmetic.self, UInt8.self, $0, $1) },
    { shiftByConstant(ShiftRightArithmetic.self, UInt16.self, $0, $1) },
    { shiftByConstant(ShiftRightArithmetic.self, UInt32.self, $0, $1) },
    { shiftByConstant(ShiftRightArithmetic.self, UInt64.self, $0, $1) },
  ],
]

/// By CL.
let shiftsByCL: [[Handler]] = [
  [
    { shiftByCL(RotateLeft.self, UInt8.self, $0, $1) },
    { shiftByCL(RotateLeft.self, UInt16.self, $0, $1) },
    { shiftByCL(RotateLeft.self, UInt32.self, $0, $1) },
    { shiftByCL(RotateLeft.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByCL(RotateRight.self, UInt8.self, $0, $1) },
    { shiftByCL(RotateRight.self, UInt16.self, $0, $1) },
    { shiftByCL(RotateRight.self, UInt32.self, $0, $1) },
    { shiftByCL(RotateRight.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByCL(RotateLeftThroughCarry.self, UInt8.self, $0, $1) },
    { shiftByCL(RotateLeftThroughCarry.self, UInt16.self, $0, $1) },
    { shiftByCL(RotateLeftThroughCarry.self, UInt32.self, $0, $1) },
    { shiftByCL(RotateLeftThroughCarry.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByCL(RotateRightThroughCarry.self, UInt8.self, $0, $1) },
    { shiftByCL(RotateRightThroughCarry.self, UInt16.self, $0, $1) },
    { shiftByCL(RotateRightThroughCarry.self, UInt32.self, $0, $1) },
    { shiftByCL(RotateRightThroughCarry.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByCL(ShiftLeft.self, UInt8.self, $0, $1) },
    { shiftByCL(ShiftLeft.self, UInt16.self, $0, $1) },
    { shiftByCL(ShiftLeft.self, UInt32.self, $0, $1) },
    { shiftByCL(ShiftLeft.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByCL(ShiftRight.self, UInt8.self, $0, $1) },
    { shiftByCL(ShiftRight.self, UInt16.self, $0, $1) },
    { shiftByCL(ShiftRight.self, UInt32.self, $0, $1) },
    { shiftByCL(ShiftRight.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByCL(ShiftLeft.self, UInt8.self, $0, $1) },
    { shiftByCL(ShiftLeft.self, UInt16.self, $0, $1) },
    { shiftByCL(ShiftLeft.self, UInt32.self, $0, $1) },
    { shiftByCL(ShiftLeft.self, UInt64.self, $0, $1) },
  ],
  [
    { shiftByCL(ShiftRightArithmetic.self, UInt8.self, $0, $1) },
    { shiftByCL(ShiftRightArithmetic.self, UInt16.self, $0, $1) },
    { shiftByCL(ShiftRightArithmetic.self, UInt32.self, $0, $1) },
    { shiftByCL(ShiftRightArithmetic.self, UInt64.self, $0, $1) },
  ],
]
