// One handler for each operation and width. The order is that of the opcodes: ADD, OR, ADC, SBB, AND, SUB,
// XOR, CMP (SDM Vol. 2D Appendix A, Table A-2).

/// The forms of an operation on two operands; each list is by width.
struct BinaryHandlers {
  /// On two slots.
  let slots: [Handler]
  /// With a constant.
  let constant: [Handler]
  /// Atomically on memory: the source is a slot.
  let locked: [MemoryHandlers]
}

let binaryHandlers: [BinaryHandlers] = [
  BinaryHandlers(
    slots: [
      { binary(Add.self, UInt8.self, $0, $1) },
      { binary(Add.self, UInt16.self, $0, $1) },
      { binary(Add.self, UInt32.self, $0, $1) },
      { binary(Add.self, UInt64.self, $0, $1) },
    ],
    constant: [
      { binaryImmediate(Add.self, UInt8.self, $0, $1) },
      { binaryImmediate(Add.self, UInt16.self, $0, $1) },
      { binaryImmediate(Add.self, UInt32.self, $0, $1) },
      { binaryImmediate(Add.self, UInt64.self, $0, $1) },
    ],
    locked: [
      .init(
        { lockedBinary(Flat.self, Add.self, UInt8.self, $0, $1) },
        { lockedBinary(Based.self, Add.self, UInt8.self, $0, $1) },
        { lockedBinary(Segmented.self, Add.self, UInt8.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Add.self, UInt16.self, $0, $1) },
        { lockedBinary(Based.self, Add.self, UInt16.self, $0, $1) },
        { lockedBinary(Segmented.self, Add.self, UInt16.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Add.self, UInt32.self, $0, $1) },
        { lockedBinary(Based.self, Add.self, UInt32.self, $0, $1) },
        { lockedBinary(Segmented.self, Add.self, UInt32.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Add.self, UInt64.self, $0, $1) },
        { lockedBinary(Based.self, Add.self, UInt64.self, $0, $1) },
        { lockedBinary(Segmented.self, Add.self, UInt64.self, $0, $1) }),
    ]),
  BinaryHandlers(
    slots: [
      { binary(Or.self, UInt8.self, $0, $1) },
      { binary(Or.self, UInt16.self, $0, $1) },
      { binary(Or.self, UInt32.self, $0, $1) },
      { binary(Or.self, UInt64.self, $0, $1) },
    ],
    constant: [
      { binaryImmediate(Or.self, UInt8.self, $0, $1) },
      { binaryImmediate(Or.self, UInt16.self, $0, $1) },
      { binaryImmediate(Or.self, UInt32.self, $0, $1) },
      { binaryImmediate(Or.self, UInt64.self, $0, $1) },
    ],
    locked: [
      .init(
        { lockedBinary(Flat.self, Or.self, UInt8.self, $0, $1) },
        { lockedBinary(Based.self, Or.self, UInt8.self, $0, $1) },
        { lockedBinary(Segmented.self, Or.self, UInt8.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Or.self, UInt16.self, $0, $1) },
        { lockedBinary(Based.self, Or.self, UInt16.self, $0, $1) },
        { lockedBinary(Segmented.self, Or.self, UInt16.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Or.self, UInt32.self, $0, $1) },
        { lockedBinary(Based.self, Or.self, UInt32.self, $0, $1) },
        { lockedBinary(Segmented.self, Or.self, UInt32.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Or.self, UInt64.self, $0, $1) },
        { lockedBinary(Based.self, Or.self, UInt64.self, $0, $1) },
        { lockedBinary(Segmented.self, Or.self, UInt64.self, $0, $1) }),
    ]),
  BinaryHandlers(
    slots: [
      { binary(AddWithCarry.self, UInt8.self, $0, $1) },
      { binary(AddWithCarry.self, UInt16.self, $0, $1) },
      { binary(AddWithCarry.self, UInt32.self, $0, $1) },
      { binary(AddWithCarry.self, UInt64.self, $0, $1) },
    ],
    constant: [
      { binaryImmediate(AddWithCarry.self, UInt8.self, $0, $1) },
      { binaryImmediate(AddWithCarry.self, UInt16.self, $0, $1) },
      { binaryImmediate(AddWithCarry.self, UInt32.self, $0, $1) },
      { binaryImmediate(AddWithCarry.self, UInt64.self, $0, $1) },
    ],
    locked: [
      .init(
        { lockedBinary(Flat.self, AddWithCarry.self, UInt8.self, $0, $1) },
        { lockedBinary(Based.self, AddWithCarry.self, UInt8.self, $0, $1) },
        { lockedBinary(Segmented.self, AddWithCarry.self, UInt8.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, AddWithCarry.self, UInt16.self, $0, $1) },
        { lockedBinary(Based.self, AddWithCarry.self, UInt16.self, $0, $1) },
        { lockedBinary(Segmented.self, AddWithCarry.self, UInt16.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, AddWithCarry.self, UInt32.self, $0, $1) },
        { lockedBinary(Based.self, AddWithCarry.self, UInt32.self, $0, $1) },
        { lockedBinary(Segmented.self, AddWithCarry.self, UInt32.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, AddWithCarry.self, UInt64.self, $0, $1) },
        { lockedBinary(Based.self, AddWithCarry.self, UInt64.self, $0, $1) },
        { lockedBinary(Segmented.self, AddWithCarry.self, UInt64.self, $0, $1) }),
    ]),
  BinaryHandlers(
    slots: [
      { binary(SubtractWithBorrow.self, UInt8.self, $0, $1) },
      { binary(SubtractWithBorrow.self, UInt16.self, $0, $1) },
      { binary(SubtractWithBorrow.self, UInt32.self, $0, $1) },
      { binary(SubtractWithBorrow.self, UInt64.self, $0, $1) },
    ],
    constant: [
      { binaryImmediate(SubtractWithBorrow.self, UInt8.self, $0, $1) },
      { binaryImmediate(SubtractWithBorrow.self, UInt16.self, $0, $1) },
      { binaryImmediate(SubtractWithBorrow.self, UInt32.self, $0, $1) },
      { binaryImmediate(SubtractWithBorrow.self, UInt64.self, $0, $1) },
    ],
    locked: [
      .init(
        { lockedBinary(Flat.self, SubtractWithBorrow.self, UInt8.self, $0, $1) },
        { lockedBinary(Based.self, SubtractWithBorrow.self, UInt8.self, $0, $1) },
        { lockedBinary(Segmented.self, SubtractWithBorrow.self, UInt8.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, SubtractWithBorrow.self, UInt16.self, $0, $1) },
        { lockedBinary(Based.self, SubtractWithBorrow.self, UInt16.self, $0, $1) },
        { lockedBinary(Segmented.self, SubtractWithBorrow.self, UInt16.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, SubtractWithBorrow.self, UInt32.self, $0, $1) },
        { lockedBinary(Based.self, SubtractWithBorrow.self, UInt32.self, $0, $1) },
        { lockedBinary(Segmented.self, SubtractWithBorrow.self, UInt32.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, SubtractWithBorrow.self, UInt64.self, $0, $1) },
        { lockedBinary(Based.self, SubtractWithBorrow.self, UInt64.self, $0, $1) },
        { lockedBinary(Segmented.self, SubtractWithBorrow.self, UInt64.self, $0, $1) }),
    ]),
  BinaryHandlers(
    slots: [
      { binary(And.self, UInt8.self, $0, $1) },
      { binary(And.self, UInt16.self, $0, $1) },
      { binary(And.self, UInt32.self, $0, $1) },
      { binary(And.self, UInt64.self, $0, $1) },
    ],
    constant: [
      { binaryImmediate(And.self, UInt8.self, $0, $1) },
      { binaryImmediate(And.self, UInt16.self, $0, $1) },
      { binaryImmediate(And.self, UInt32.self, $0, $1) },
      { binaryImmediate(And.self, UInt64.self, $0, $1) },
    ],
    locked: [
      .init(
        { lockedBinary(Flat.self, And.self, UInt8.self, $0, $1) },
        { lockedBinary(Based.self, And.self, UInt8.self, $0, $1) },
        { lockedBinary(Segmented.self, And.self, UInt8.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, And.self, UInt16.self, $0, $1) },
        { lockedBinary(Based.self, And.self, UInt16.self, $0, $1) },
        { lockedBinary(Segmented.self, And.self, UInt16.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, And.self, UInt32.self, $0, $1) },
        { lockedBinary(Based.self, And.self, UInt32.self, $0, $1) },
        { lockedBinary(Segmented.self, And.self, UInt32.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, And.self, UInt64.self, $0, $1) },
        { lockedBinary(Based.self, And.self, UInt64.self, $0, $1) },
        { lockedBinary(Segmented.self, And.self, UInt64.self, $0, $1) }),
    ]),
  BinaryHandlers(
    slots: [
      { binary(Subtract.self, UInt8.self, $0, $1) },
      { binary(Subtract.self, UInt16.self, $0, $1) },
      { binary(Subtract.self, UInt32.self, $0, $1) },
      { binary(Subtract.self, UInt64.self, $0, $1) },
    ],
    constant: [
      { binaryImmediate(Subtract.self, UInt8.self, $0, $1) },
      { binaryImmediate(Subtract.self, UInt16.self, $0, $1) },
      { binaryImmediate(Subtract.self, UInt32.self, $0, $1) },
      { binaryImmediate(Subtract.self, UInt64.self, $0, $1) },
    ],
    locked: [
      .init(
        { lockedBinary(Flat.self, Subtract.self, UInt8.self, $0, $1) },
        { lockedBinary(Based.self, Subtract.self, UInt8.self, $0, $1) },
        { lockedBinary(Segmented.self, Subtract.self, UInt8.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Subtract.self, UInt16.self, $0, $1) },
        { lockedBinary(Based.self, Subtract.self, UInt16.self, $0, $1) },
        { lockedBinary(Segmented.self, Subtract.self, UInt16.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Subtract.self, UInt32.self, $0, $1) },
        { lockedBinary(Based.self, Subtract.self, UInt32.self, $0, $1) },
        { lockedBinary(Segmented.self, Subtract.self, UInt32.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, Subtract.self, UInt64.self, $0, $1) },
        { lockedBinary(Based.self, Subtract.self, UInt64.self, $0, $1) },
        { lockedBinary(Segmented.self, Subtract.self, UInt64.self, $0, $1) }),
    ]),
  BinaryHandlers(
    slots: [
      { binary(ExclusiveOr.self, UInt8.self, $0, $1) },
      { binary(ExclusiveOr.self, UInt16.self, $0, $1) },
      { binary(ExclusiveOr.self, UInt32.self, $0, $1) },
      { binary(ExclusiveOr.self, UInt64.self, $0, $1) },
    ],
    constant: [
      { binaryImmediate(ExclusiveOr.self, UInt8.self, $0, $1) },
      { binaryImmediate(ExclusiveOr.self, UInt16.self, $0, $1) },
      { binaryImmediate(ExclusiveOr.self, UInt32.self, $0, $1) },
      { binaryImmediate(ExclusiveOr.self, UInt64.self, $0, $1) },
    ],
    locked: [
      .init(
        { lockedBinary(Flat.self, ExclusiveOr.self, UInt8.self, $0, $1) },
        { lockedBinary(Based.self, ExclusiveOr.self, UInt8.self, $0, $1) },
        { lockedBinary(Segmented.self, ExclusiveOr.self, UInt8.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, ExclusiveOr.self, UInt16.self, $0, $1) },
        { lockedBinary(Based.self, ExclusiveOr.self, UInt16.self, $0, $1) },
        { lockedBinary(Segmented.self, ExclusiveOr.self, UInt16.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, ExclusiveOr.self, UInt32.self, $0, $1) },
        { lockedBinary(Based.self, ExclusiveOr.self, UInt32.self, $0, $1) },
        { lockedBinary(Segmented.self, ExclusiveOr.self, UInt32.self, $0, $1) }),
      .init(
        { lockedBinary(Flat.self, ExclusiveOr.self, UInt64.self, $0, $1) },
        { lockedBinary(Based.self, ExclusiveOr.self, UInt64.self, $0, $1) },
        { lockedBinary(Segmented.self, ExclusiveOr.self, UInt64.self, $0, $1) }),
    ]),
  BinaryHandlers(
    slots: [
      { compare(Subtract.self, UInt8.self, $0, $1) },
      { compare(Subtract.self, UInt16.self, $0, $1) },
      { compare(Subtract.self, UInt32.self, $0, $1) },
      { compare(Subtract.self, UInt64.self, $0, $1) },
    ],
    constant: [
      { compareImmediate(Subtract.self, UInt8.self, $0, $1) },
      { compareImmediate(Subtract.self, UInt16.self, $0, $1) },
      { compareImmediate(Subtract.self, UInt32.self, $0, $1) },
      { compareImmediate(Subtract.self, UInt64.self, $0, $1) },
    ],
    locked: []),
]

/// TEST.
let testHandlers = BinaryHandlers(
  slots: [
    { compare(And.self, UInt8.self, $0, $1) },
    { compare(And.self, UInt16.self, $0, $1) },
    { compare(And.self, UInt32.self, $0, $1) },
    { compare(And.self, UInt64.self, $0, $1) },
  ],
  constant: [
    { compareImmediate(And.self, UInt8.self, $0, $1) },
    { compareImmediate(And.self, UInt16.self, $0, $1) },
    { compareImmediate(And.self, UInt32.self, $0, $1) },
    { compareImmediate(And.self, UInt64.self, $0, $1) },
  ],
  locked: [])

/// The forms of an operation on one operand; each list is by width.
struct UnaryHandlers {
  let slot: [Handler]
  let locked: [MemoryHandlers]
}

let incrementHandlers = UnaryHandlers(
  slot: [
    { unary(Increment.self, UInt8.self, $0, $1) },
    { unary(Increment.self, UInt16.self, $0, $1) },
    { unary(Increment.self, UInt32.self, $0, $1) },
    { unary(Increment.self, UInt64.self, $0, $1) },
  ],
  locked: [
    .init(
      { lockedUnary(Flat.self, Increment.self, UInt8.self, $0, $1) },
      { lockedUnary(Based.self, Increment.self, UInt8.self, $0, $1) },
      { lockedUnary(Segmented.self, Increment.self, UInt8.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Increment.self, UInt16.self, $0, $1) },
      { lockedUnary(Based.self, Increment.self, UInt16.self, $0, $1) },
      { lockedUnary(Segmented.self, Increment.self, UInt16.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Increment.self, UInt32.self, $0, $1) },
      { lockedUnary(Based.self, Increment.self, UInt32.self, $0, $1) },
      { lockedUnary(Segmented.self, Increment.self, UInt32.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Increment.self, UInt64.self, $0, $1) },
      { lockedUnary(Based.self, Increment.self, UInt64.self, $0, $1) },
      { lockedUnary(Segmented.self, Increment.self, UInt64.self, $0, $1) }),
  ])

let decrementHandlers = UnaryHandlers(
  slot: [
    { unary(Decrement.self, UInt8.self, $0, $1) },
    { unary(Decrement.self, UInt16.self, $0, $1) },
    { unary(Decrement.self, UInt32.self, $0, $1) },
    { unary(Decrement.self, UInt64.self, $0, $1) },
  ],
  locked: [
    .init(
      { lockedUnary(Flat.self, Decrement.self, UInt8.self, $0, $1) },
      { lockedUnary(Based.self, Decrement.self, UInt8.self, $0, $1) },
      { lockedUnary(Segmented.self, Decrement.self, UInt8.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Decrement.self, UInt16.self, $0, $1) },
      { lockedUnary(Based.self, Decrement.self, UInt16.self, $0, $1) },
      { lockedUnary(Segmented.self, Decrement.self, UInt16.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Decrement.self, UInt32.self, $0, $1) },
      { lockedUnary(Based.self, Decrement.self, UInt32.self, $0, $1) },
      { lockedUnary(Segmented.self, Decrement.self, UInt32.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Decrement.self, UInt64.self, $0, $1) },
      { lockedUnary(Based.self, Decrement.self, UInt64.self, $0, $1) },
      { lockedUnary(Segmented.self, Decrement.self, UInt64.self, $0, $1) }),
  ])

let notHandlers = UnaryHandlers(
  slot: [
    { unary(Not.self, UInt8.self, $0, $1) },
    { unary(Not.self, UInt16.self, $0, $1) },
    { unary(Not.self, UInt32.self, $0, $1) },
    { unary(Not.self, UInt64.self, $0, $1) },
  ],
  locked: [
    .init(
      { lockedUnary(Flat.self, Not.self, UInt8.self, $0, $1) },
      { lockedUnary(Based.self, Not.self, UInt8.self, $0, $1) },
      { lockedUnary(Segmented.self, Not.self, UInt8.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Not.self, UInt16.self, $0, $1) },
      { lockedUnary(Based.self, Not.self, UInt16.self, $0, $1) },
      { lockedUnary(Segmented.self, Not.self, UInt16.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Not.self, UInt32.self, $0, $1) },
      { lockedUnary(Based.self, Not.self, UInt32.self, $0, $1) },
      { lockedUnary(Segmented.self, Not.self, UInt32.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Not.self, UInt64.self, $0, $1) },
      { lockedUnary(Based.self, Not.self, UInt64.self, $0, $1) },
      { lockedUnary(Segmented.self, Not.self, UInt64.self, $0, $1) }),
  ])

let negateHandlers = UnaryHandlers(
  slot: [
    { unary(Negate.self, UInt8.self, $0, $1) },
    { unary(Negate.self, UInt16.self, $0, $1) },
    { unary(Negate.self, UInt32.self, $0, $1) },
    { unary(Negate.self, UInt64.self, $0, $1) },
  ],
  locked: [
    .init(
      { lockedUnary(Flat.self, Negate.self, UInt8.self, $0, $1) },
      { lockedUnary(Based.self, Negate.self, UInt8.self, $0, $1) },
      { lockedUnary(Segmented.self, Negate.self, UInt8.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Negate.self, UInt16.self, $0, $1) },
      { lockedUnary(Based.self, Negate.self, UInt16.self, $0, $1) },
      { lockedUnary(Segmented.self, Negate.self, UInt16.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Negate.self, UInt32.self, $0, $1) },
      { lockedUnary(Based.self, Negate.self, UInt32.self, $0, $1) },
      { lockedUnary(Segmented.self, Negate.self, UInt32.self, $0, $1) }),
    .init(
      { lockedUnary(Flat.self, Negate.self, UInt64.self, $0, $1) },
      { lockedUnary(Based.self, Negate.self, UInt64.self, $0, $1) },
      { lockedUnary(Segmented.self, Negate.self, UInt64.self, $0, $1) }),
  ])
