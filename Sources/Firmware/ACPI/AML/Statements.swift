// What control methods are made of.
//
// - SeeAlso: ACPI 6.4 §20.2.5.3 "Statement Opcodes Encoding", §20.2.5.4 "Expression Opcodes
//   Encoding", §20.2.6 "Miscellaneous Objects Encoding".

/// A reference to an object by its name.
func Reference(_ path: NamePath) -> Term { Term(path.aml) }

/// The method's argument of that number, from 0 to 6.
func Arg(_ number: UInt8) -> Term { Term([0x68 + number]) }

/// The method's local variable of that number, from 0 to 7.
func Local(_ number: UInt8) -> Term { Term([0x60 + number]) }

func Store(_ value: Term, into target: Term) -> Term { Term([0x70], value.aml, target.aml) }

func Equal(_ left: Term, _ right: Term) -> Term { Term([0x93], left.aml, right.aml) }

func NotEqual(_ left: Term, _ right: Term) -> Term { Term([0x92, 0x93], left.aml, right.aml) }

/// Stores the bitwise conjunction of two integers in `target`.
func And(_ left: Term, _ right: Term, into target: Term) -> Term {
  Term([0x7B], left.aml, right.aml, target.aml)
}

/// Stores the bitwise disjunction of two integers in `target`.
func Or(_ left: Term, _ right: Term, into target: Term) -> Term {
  Term([0x7D], left.aml, right.aml, target.aml)
}

/// Names the 32 bits of `buffer` that begin at byte `index`.
func CreateDWordField(_ buffer: Term, _ index: Term, _ name: NamePath) -> Term {
  Term([0x8A], buffer.aml, index.aml, name.aml)
}

func If(_ condition: Term, @Listing<Term> _ terms: () -> [Term]) -> Term {
  Term(opcode: [0xA0], package: condition.aml, terms().aml)
}

/// What is done when the `If` right before it was not.
func Else(@Listing<Term> _ terms: () -> [Term]) -> Term {
  Term(opcode: [0xA1], package: terms().aml)
}

func Return(_ value: Term) -> Term { Term([0xA4], value.aml) }
