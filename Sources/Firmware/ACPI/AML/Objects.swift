// The named objects and data objects of AML.
//
// - SeeAlso: ACPI 6.4 §20.2.5.1 "Namespace Modifier Objects Encoding", §20.2.5.2 "Named Objects
//   Encoding", §20.2.5.4 "Expression Opcodes Encoding" for packages and buffers.

func Name(_ path: NamePath, _ value: Term) -> Term { Term([0x08], path.aml, value.aml) }

func Scope(_ path: NamePath, @Listing<Term> _ terms: () -> [Term]) -> Term {
  Term(opcode: [0x10], package: path.aml, terms().aml)
}

func Device(_ path: NamePath, @Listing<Term> _ terms: () -> [Term]) -> Term {
  Term(opcode: [0x5B, 0x82], package: path.aml, terms().aml)
}

/// A control method; `serialized` if two threads must not be in it at once, as when it creates
/// named objects.
func Method(
  _ path: NamePath, arguments: UInt8, serialized: Bool = false,
  @Listing<Term> _ terms: () -> [Term]
) -> Term {
  let flags = arguments & 0b111 | (serialized ? 0b1000 : 0)
  return Term(opcode: [0x14], package: path.aml, [flags], terms().aml)
}

func Package(_ elements: [Term]) -> Term {
  precondition(elements.count <= 255, "an AML package has at most 255 elements")
  return Term(opcode: [0x12], package: [UInt8(elements.count)], elements.aml)
}

func Buffer(_ bytes: [UInt8]) -> Term {
  Term(opcode: [0x11], package: Term(UInt64(bytes.count)).aml, bytes)
}

/// A buffer that names a set of functions: the sixteen bytes of a UUID, its first three groups
/// turned to little-endian.
///
/// - SeeAlso: ACPI 6.4 §19.6 "ASL Operator Reference", ToUUID.
func UUID(_ value: UInt128) -> Term {
  let fields: [Field] = [
    .dword(UInt32(truncatingIfNeeded: value >> 96)), .word(UInt16(truncatingIfNeeded: value >> 80)),
    .word(UInt16(truncatingIfNeeded: value >> 64)),
    .qword(UInt64(truncatingIfNeeded: value).byteSwapped),
  ]
  return Buffer(fields.encoded)
}

/// A Plug and Play identifier such as `PNP0A08`, as an integer: three letters of five bits each and
/// four hexadecimal digits, highest byte first.
///
/// - SeeAlso: ACPI 6.4 §19.6 "ASL Operator Reference", EISAID.
func EISAID(_ identifier: StaticString) -> Term {
  let text = "\(identifier)"
  let letters = text.utf8.prefix(3).reduce(UInt32(0)) { $0 << 5 | UInt32($1 & 0x1F) }
  guard text.utf8.count == 7, let product = UInt16(text.dropFirst(3), radix: 16) else {
    preconditionFailure("not an EISA identifier: \(text)")
  }
  return Term(UInt64((letters << 16 | UInt32(product)).byteSwapped))
}
