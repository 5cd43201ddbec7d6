import ArchitectureX86

extension X86.State {
  /// The registers as a person wants to read them.
  var text: String {
    var lines: [String] = []
    for row in stride(from: 0, to: registers.count, by: 4) {
      lines.append(
        X86.Register.allCases[row..<row + 4].map { register in
          "\(register)".padded(to: 3) + " " + hex(registers[register.rawValue], digits: 16)
        }.joined(separator: "  "))
    }
    lines.append(
      "rip " + hex(rip, digits: 16) + "  rflags " + hex(rflags, digits: 8) + "  \(activity)")
    lines.append(
      "cr0 " + hex(cr0, digits: 8) + "  cr2 " + hex(cr2, digits: 16) + "  cr3 "
        + hex(cr3, digits: 16) + "  cr4 " + hex(cr4, digits: 8) + "  efer " + hex(efer, digits: 4))
    for segment in X86.SegmentRegister.allCases {
      lines.append(Self.line("\(segment)", segments[segment.rawValue]))
    }
    lines.append(Self.line("ldtr", ldtr))
    lines.append(Self.line("tr", tr))
    lines.append("gdtr base " + hex(gdtr.base, digits: 16) + " limit " + hex(gdtr.limit, digits: 4))
    lines.append("idtr base " + hex(idtr.base, digits: 16) + " limit " + hex(idtr.limit, digits: 4))
    return lines.map { "  " + $0 }.joined(separator: "\n")
  }

  private static func line(_ name: String, _ segment: X86.Segment) -> String {
    name.padded(to: 4) + " " + hex(segment.selector, digits: 4) + " base "
      + hex(segment.base, digits: 16) + " limit " + hex(segment.limit, digits: 8) + " attributes "
      + hex(segment.attributes, digits: 5)
  }
}

private func hex(_ value: some BinaryInteger, digits: Int) -> String {
  let text = String(value, radix: 16)
  return String(repeating: "0", count: max(0, digits - text.count)) + text
}

extension String {
  fileprivate func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
}
