// Rows of `InstructionTable` for the x87 FPU: SDM Vol. 2D Appendix A, Tables A-7 to A-22.

extension InstructionTable {
  static var x87Rows: String {
    var rows = memoryRows + registerRows
    let operations = ["add", "mul", "com", "comp", "sub", "subr", "div", "divr"]
    for (digit, name) in operations.enumerated() {
      rows += "\n1:d8 m /\(digit) f\(name) Md\n1:dc m /\(digit) f\(name) Mq"
      rows += "\n1:da m /\(digit) fi\(name) Md\n1:de m /\(digit) fi\(name) Mw"
      rows += "\n1:d8 r /\(digit) f\(name) st0,Ti"
    }
    // Into ST(i): subtraction and division change places with their reverse.
    for (digit, name) in ["add", "mul", "com", "comp", "subr", "sub", "divr", "div"].enumerated() {
      rows += "\n1:dc r /\(digit) f\(name) \(digit == 2 || digit == 3 ? "st0,Ti" : "Ti,st0")"
      if digit != 2, digit != 3 { rows += "\n1:de r /\(digit) f\(name)p Ti,st0" }
    }
    for (digit, condition) in ["b", "e", "be", "u"].enumerated() {
      rows +=
        "\n1:da r /\(digit) fcmov\(condition) st0,Ti\n1:db r /\(digit) fcmovn\(condition) st0,Ti"
    }
    let d9: [(Int, String)] = [
      (0xd0, "fnop"), (0xe0, "fchs"), (0xe1, "fabs"), (0xe4, "ftst"), (0xe5, "fxam"),
      (0xe8, "fld1"),
      (0xe9, "fldl2t"), (0xea, "fldl2e"), (0xeb, "fldpi"), (0xec, "fldlg2"), (0xed, "fldln2"),
      (0xee, "fldz"), (0xf0, "f2xm1"), (0xf1, "fyl2x"), (0xf2, "fptan"), (0xf3, "fpatan"),
      (0xf4, "fxtract"), (0xf5, "fprem1"), (0xf6, "fdecstp"), (0xf7, "fincstp"), (0xf8, "fprem"),
      (0xf9, "fyl2xp1"), (0xfa, "fsqrt"), (0xfb, "fsincos"), (0xfc, "frndint"), (0xfd, "fscale"),
      (0xfe, "fsin"), (0xff, "fcos"),
    ]
    for (modRM, name) in d9 { rows += "\n1:d9 =\(hex(modRM)) \(name)" }
    return rows
  }

  private static let memoryRows = """

    1:d9 m /0 fld Md
    1:d9 m /2 fst Md
    1:d9 m /3 fstp Md
    1:d9 m /4 fldenv M
    1:d9 m /5 fldcw Mw
    1:d9 m /6 fnstenv M
    1:d9 m /7 fnstcw Mw
    1:db m /0 fild Md
    1:db m /1 fisttp Md
    1:db m /2 fist Md
    1:db m /3 fistp Md
    1:db m /5 fld Mt
    1:db m /7 fstp Mt
    1:dd m /0 fld Mq
    1:dd m /1 fisttp Mq
    1:dd m /2 fst Mq
    1:dd m /3 fstp Mq
    1:dd m /4 frstor M
    1:dd m /6 fnsave M
    1:dd m /7 fnstsw Mw
    1:df m /0 fild Mw
    1:df m /1 fisttp Mw
    1:df m /2 fist Mw
    1:df m /3 fistp Mw
    1:df m /4 fbld Mt
    1:df m /5 fild Mq
    1:df m /6 fbstp Mt
    1:df m /7 fistp Mq
    """

  private static let registerRows = """

    1:d9 r /0 fld Ti
    1:d9 r /1 fxch Ti
    1:d9 r /3 fstp Ti
    1:da =e9 fucompp
    1:db =e0 fneni
    1:db =e1 fndisi
    1:db =e2 fnclex
    1:db =e3 fninit
    1:db =e4 fnsetpm
    1:db r /5 fucomi st0,Ti
    1:db r /6 fcomi st0,Ti
    1:dd r /0 ffree Ti
    1:dd r /1 fxch Ti
    1:dd r /2 fst Ti
    1:dd r /3 fstp Ti
    1:dd r /4 fucom Ti
    1:dd r /5 fucomp Ti
    1:de r /2 fcomp Ti
    1:de =d9 fcompp
    1:df r /0 ffreep Ti
    1:df r /1 fxch Ti
    1:df r /2 fstp Ti
    1:df r /3 fstp Ti
    1:df =e0 fnstsw ax
    1:df r /5 fucomip st0,Ti
    1:df r /6 fcomip st0,Ti
    """
}
