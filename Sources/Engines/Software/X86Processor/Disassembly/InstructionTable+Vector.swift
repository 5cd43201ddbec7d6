// Rows of `InstructionTable` for MMX, SSE and AVX: SDM Vol. 2D Appendix A, Tables A-3 to A-5. A mnemonic that starts
// with "(v)" also exists with a VEX prefix, and then has the operand H that VEX.vvvv names.

extension InstructionTable {
  static var vectorRows: String {
    var rows = twoByteRows + threeByteRows + vexRows
    let floats = [
      (0x51, "sqrt", "Vx,Wx", true), (0x58, "add", "Vx,Hx,Wx", true),
      (0x59, "mul", "Vx,Hx,Wx", true),
      (0x5c, "sub", "Vx,Hx,Wx", true), (0x5d, "min", "Vx,Hx,Wx", true),
      (0x5e, "div", "Vx,Hx,Wx", true),
      (0x5f, "max", "Vx,Hx,Wx", true), (0xc2, "cmp", "Vx,Hx,Wx", true),
      (0x14, "unpckl", "Vx,Hx,Wx", false),
      (0x15, "unpckh", "Vx,Hx,Wx", false), (0x54, "and", "Vx,Hx,Wx", false),
      (0x55, "andn", "Vx,Hx,Wx", false), (0x56, "or", "Vx,Hx,Wx", false),
      (0x57, "xor", "Vx,Hx,Wx", false),
      (0xc6, "shuf", "Vx,Hx,Wx", false),
    ]
    for (opcode, name, operands, hasScalar) in floats {
      let tail = opcode == 0xc2 || opcode == 0xc6 ? ",Ib" : ""
      rows += "\n2:\(hex(opcode)) np (v)\(name)ps \(operands)\(tail)"
      rows += "\n2:\(hex(opcode)) 66 (v)\(name)pd \(operands)\(tail)"
      guard hasScalar else { continue }
      rows += "\n2:\(hex(opcode)) f3 (v)\(name)ss Vo,Ho,Wd\(tail)"
      rows += "\n2:\(hex(opcode)) f2 (v)\(name)sd Vo,Ho,Wq\(tail)"
    }
    for (opcode, name) in integers {
      let isShift = [0xd1, 0xd2, 0xd3, 0xe1, 0xe2, 0xf1, 0xf2, 0xf3].contains(opcode)
      let source = opcode < 0x63 ? "Qd" : "Qq"
      rows += "\n2:\(hex(opcode)) np \(name) Pq,\(source)"
      rows += "\n2:\(hex(opcode)) 66 (v)\(name) Vx,Hx,\(isShift ? "Wo" : "Wx")"
    }
    let supplement = [
      "pshufb", "phaddw", "phaddd", "phaddsw", "pmaddubsw", "phsubw", "phsubd", "phsubsw", "psignb",
      "psignw", "psignd", "pmulhrsw",
    ]
    for (opcode, name) in supplement.enumerated() {
      rows += "\n8:\(hex(opcode)) np \(name) Pq,Qq\n8:\(hex(opcode)) 66 (v)\(name) Vx,Hx,Wx"
    }
    let sse4 = [
      (0x28, "pmuldq"), (0x29, "pcmpeqq"), (0x2b, "packusdw"), (0x37, "pcmpgtq"), (0x38, "pminsb"),
      (0x39, "pminsd"), (0x3a, "pminuw"), (0x3b, "pminud"), (0x3c, "pmaxsb"), (0x3d, "pmaxsd"),
      (0x3e, "pmaxuw"), (0x3f, "pmaxud"), (0x40, "pmulld"), (0xdc, "aesenc"), (0xdd, "aesenclast"),
      (0xde, "aesdec"), (0xdf, "aesdeclast"),
    ]
    for (opcode, name) in sse4 { rows += "\n8:\(hex(opcode)) 66 (v)\(name) Vx,Hx,Wx" }
    let widenings = [
      ("bw", "Wh"), ("bd", "W4"), ("bq", "W8"), ("wd", "Wh"), ("wq", "W4"), ("dq", "Wh"),
    ]
    for (number, (name, source)) in widenings.enumerated() {
      rows += "\n8:\(hex(0x20 + number)) 66 (v)pmovsx\(name) Vx,\(source)"
      rows += "\n8:\(hex(0x30 + number)) 66 (v)pmovzx\(name) Vx,\(source)"
    }
    return rows + fusedRows
  }

  /// Integer operations with one form for MMX registers and one for XMM registers.
  private static let integers = [
    (0x60, "punpcklbw"), (0x61, "punpcklwd"), (0x62, "punpckldq"), (0x63, "packsswb"),
    (0x64, "pcmpgtb"),
    (0x65, "pcmpgtw"), (0x66, "pcmpgtd"), (0x67, "packuswb"), (0x68, "punpckhbw"),
    (0x69, "punpckhwd"),
    (0x6a, "punpckhdq"), (0x6b, "packssdw"), (0x74, "pcmpeqb"), (0x75, "pcmpeqw"),
    (0x76, "pcmpeqd"),
    (0xd1, "psrlw"), (0xd2, "psrld"), (0xd3, "psrlq"), (0xd4, "paddq"), (0xd5, "pmullw"),
    (0xd8, "psubusb"), (0xd9, "psubusw"), (0xda, "pminub"), (0xdb, "pand"), (0xdc, "paddusb"),
    (0xdd, "paddusw"), (0xde, "pmaxub"), (0xdf, "pandn"), (0xe0, "pavgb"), (0xe1, "psraw"),
    (0xe2, "psrad"), (0xe3, "pavgw"), (0xe4, "pmulhuw"), (0xe5, "pmulhw"), (0xe8, "psubsb"),
    (0xe9, "psubsw"), (0xea, "pminsw"), (0xeb, "por"), (0xec, "paddsb"), (0xed, "paddsw"),
    (0xee, "pmaxsw"), (0xef, "pxor"), (0xf1, "psllw"), (0xf2, "pslld"), (0xf3, "psllq"),
    (0xf4, "pmuludq"), (0xf5, "pmaddwd"), (0xf6, "psadbw"), (0xf8, "psubb"), (0xf9, "psubw"),
    (0xfa, "psubd"), (0xfb, "psubq"), (0xfc, "paddb"), (0xfd, "paddw"), (0xfe, "paddd"),
  ]

  /// FMA: SDM Vol. 2D Table A-4, rows 9, A and B; the column is the operation, the row the order of operands.
  private static var fusedRows: String {
    let operations = [
      (0x6, "fmaddsub", "p"), (0x7, "fmsubadd", "p"), (0x8, "fmadd", "p"), (0x9, "fmadd", "s"),
      (0xa, "fmsub", "p"), (0xb, "fmsub", "s"), (0xc, "fnmadd", "p"), (0xd, "fnmadd", "s"),
      (0xe, "fnmsub", "p"), (0xf, "fnmsub", "s"),
    ]
    var rows = ""
    for (row, order) in [(0x90, "132"), (0xa0, "213"), (0xb0, "231")] {
      for (column, name, kind) in operations {
        for (w, element, size) in [("w0", "s", "Wd"), ("w1", "d", "Wq")] {
          let operands = kind == "p" ? "Vx,Hx,Wx" : "Vo,Ho,\(size)"
          rows +=
            "\n8:\(hex(row + column)) vex 66 \(w) v\(name)\(order)\(kind)\(element) \(operands)"
        }
      }
    }
    return rows
  }

  private static let twoByteRows = """

    2:10 np (v)movups Vx,Wx
    2:10 66 (v)movupd Vx,Wx
    2:10 f3 m (v)movss Vo,Md
    2:10 f3 r (v)movss Vo,Ho,Wo
    2:10 f2 m (v)movsd Vo,Mq
    2:10 f2 r (v)movsd Vo,Ho,Wo
    2:11 np (v)movups Wx,Vx
    2:11 66 (v)movupd Wx,Vx
    2:11 f3 m (v)movss Md,Vo
    2:11 f3 r (v)movss Wo,Ho,Vo
    2:11 f2 m (v)movsd Mq,Vo
    2:11 f2 r (v)movsd Wo,Ho,Vo
    2:12 np m (v)movlps Vo,Ho,Mq
    2:12 np r (v)movhlps Vo,Ho,Wo
    2:12 66 m (v)movlpd Vo,Ho,Mq
    2:12 f3 (v)movsldup Vx,Wx
    2:12 f2 (v)movddup Vx,W2
    2:13 np m (v)movlps Mq,Vo
    2:13 66 m (v)movlpd Mq,Vo
    2:16 np m (v)movhps Vo,Ho,Mq
    2:16 np r (v)movlhps Vo,Ho,Wo
    2:16 66 m (v)movhpd Vo,Ho,Mq
    2:16 f3 (v)movshdup Vx,Wx
    2:17 np m (v)movhps Mq,Vo
    2:17 66 m (v)movhpd Mq,Vo
    2:28 np (v)movaps Vx,Wx
    2:28 66 (v)movapd Vx,Wx
    2:29 np (v)movaps Wx,Vx
    2:29 66 (v)movapd Wx,Vx
    2:2a np cvtpi2ps Vo,Qq
    2:2a 66 cvtpi2pd Vo,Qq
    2:2a f3 (v)cvtsi2ss Vo,Ho,Ey
    2:2a f2 (v)cvtsi2sd Vo,Ho,Ey
    2:2b np m (v)movntps Mx,Vx
    2:2b 66 m (v)movntpd Mx,Vx
    2:2c np cvttps2pi Pq,Wq
    2:2c 66 cvttpd2pi Pq,Wo
    2:2c f3 (v)cvttss2si Gy,Wd
    2:2c f2 (v)cvttsd2si Gy,Wq
    2:2d np cvtps2pi Pq,Wq
    2:2d 66 cvtpd2pi Pq,Wo
    2:2d f3 (v)cvtss2si Gy,Wd
    2:2d f2 (v)cvtsd2si Gy,Wq
    2:2e np (v)ucomiss Vo,Wd
    2:2e 66 (v)ucomisd Vo,Wq
    2:2f np (v)comiss Vo,Wd
    2:2f 66 (v)comisd Vo,Wq
    2:50 np r (v)movmskps Gd,Wx
    2:50 66 r (v)movmskpd Gd,Wx
    2:52 np (v)rsqrtps Vx,Wx
    2:52 f3 (v)rsqrtss Vo,Ho,Wd
    2:53 np (v)rcpps Vx,Wx
    2:53 f3 (v)rcpss Vo,Ho,Wd
    2:5a np (v)cvtps2pd Vx,Wh
    2:5a 66 (v)cvtpd2ps Vo,Wx
    2:5a f3 (v)cvtss2sd Vo,Ho,Wd
    2:5a f2 (v)cvtsd2ss Vo,Ho,Wq
    2:5b np (v)cvtdq2ps Vx,Wx
    2:5b 66 (v)cvtps2dq Vx,Wx
    2:5b f3 (v)cvttps2dq Vx,Wx
    2:6c 66 (v)punpcklqdq Vx,Hx,Wx
    2:6d 66 (v)punpckhqdq Vx,Hx,Wx
    2:6e np w1 movq Pq,Ey
    2:6e np movd Pq,Ey
    2:6e 66 w1 (v)movq Vo,Ey
    2:6e 66 (v)movd Vo,Ey
    2:6f np movq Pq,Qq
    2:6f 66 (v)movdqa Vx,Wx
    2:6f f3 (v)movdqu Vx,Wx
    2:70 np pshufw Pq,Qq,Ib
    2:70 66 (v)pshufd Vx,Wx,Ib
    2:70 f3 (v)pshufhw Vx,Wx,Ib
    2:70 f2 (v)pshuflw Vx,Wx,Ib
    2:71 np r /2 psrlw Qq,Ib
    2:71 np r /4 psraw Qq,Ib
    2:71 np r /6 psllw Qq,Ib
    2:71 66 r /2 (v)psrlw Hx,Wx,Ib
    2:71 66 r /4 (v)psraw Hx,Wx,Ib
    2:71 66 r /6 (v)psllw Hx,Wx,Ib
    2:72 np r /2 psrld Qq,Ib
    2:72 np r /4 psrad Qq,Ib
    2:72 np r /6 pslld Qq,Ib
    2:72 66 r /2 (v)psrld Hx,Wx,Ib
    2:72 66 r /4 (v)psrad Hx,Wx,Ib
    2:72 66 r /6 (v)pslld Hx,Wx,Ib
    2:73 np r /2 psrlq Qq,Ib
    2:73 np r /6 psllq Qq,Ib
    2:73 66 r /2 (v)psrlq Hx,Wx,Ib
    2:73 66 r /3 (v)psrldq Hx,Wx,Ib
    2:73 66 r /6 (v)psllq Hx,Wx,Ib
    2:73 66 r /7 (v)pslldq Hx,Wx,Ib
    2:77 vex l0 vzeroupper
    2:77 vex l1 vzeroall
    2:77 np emms
    2:7c 66 (v)haddpd Vx,Hx,Wx
    2:7c f2 (v)haddps Vx,Hx,Wx
    2:7d 66 (v)hsubpd Vx,Hx,Wx
    2:7d f2 (v)hsubps Vx,Hx,Wx
    2:7e np w1 movq Ey,Pq
    2:7e np movd Ey,Pq
    2:7e 66 w1 (v)movq Ey,Vo
    2:7e 66 (v)movd Ey,Vo
    2:7e f3 (v)movq Vo,Wq
    2:7f np movq Qq,Pq
    2:7f 66 (v)movdqa Wx,Vx
    2:7f f3 (v)movdqu Wx,Vx
    2:ae np m /2 (v)ldmxcsr Md
    2:ae np m /3 (v)stmxcsr Md
    2:c4 np pinsrw Pq,RdMw,Ib
    2:c4 66 (v)pinsrw Vo,Ho,RdMw,Ib
    2:c5 np r pextrw Gd,Qq,Ib
    2:c5 66 r (v)pextrw Gd,Wo,Ib
    2:d0 66 (v)addsubpd Vx,Hx,Wx
    2:d0 f2 (v)addsubps Vx,Hx,Wx
    2:d6 66 (v)movq Wq,Vo
    2:d6 f3 r movq2dq Vo,Qq
    2:d6 f2 r movdq2q Pq,Wo
    2:d7 np r pmovmskb Gd,Qq
    2:d7 66 r (v)pmovmskb Gd,Wx
    2:e6 66 (v)cvttpd2dq Vo,Wx
    2:e6 f3 (v)cvtdq2pd Vx,Wh
    2:e6 f2 (v)cvtpd2dq Vo,Wx
    2:e7 np m movntq Mq,Pq
    2:e7 66 m (v)movntdq Mx,Vx
    2:f0 f2 m (v)lddqu Vx,Mx
    2:f7 np r maskmovq Pq,Qq
    2:f7 66 r (v)maskmovdqu Vo,Wo
    """

  private static let threeByteRows = """

    8:10 66 pblendvb Vo,Wo
    8:14 66 blendvps Vo,Wo
    8:15 66 blendvpd Vo,Wo
    8:17 66 (v)ptest Vx,Wx
    8:1c np pabsb Pq,Qq
    8:1d np pabsw Pq,Qq
    8:1e np pabsd Pq,Qq
    8:1c 66 (v)pabsb Vx,Wx
    8:1d 66 (v)pabsw Vx,Wx
    8:1e 66 (v)pabsd Vx,Wx
    8:2a 66 m (v)movntdqa Vx,Mx
    8:41 66 (v)phminposuw Vo,Wo
    8:c8 np sha1nexte Vo,Wo
    8:c9 np sha1msg1 Vo,Wo
    8:ca np sha1msg2 Vo,Wo
    8:cb np sha256rnds2 Vo,Wo
    8:cc np sha256msg1 Vo,Wo
    8:cd np sha256msg2 Vo,Wo
    8:db 66 (v)aesimc Vo,Wo
    a:08 66 (v)roundps Vx,Wx,Ib
    a:09 66 (v)roundpd Vx,Wx,Ib
    a:0a 66 (v)roundss Vo,Ho,Wd,Ib
    a:0b 66 (v)roundsd Vo,Ho,Wq,Ib
    a:0c 66 (v)blendps Vx,Hx,Wx,Ib
    a:0d 66 (v)blendpd Vx,Hx,Wx,Ib
    a:0e 66 (v)pblendw Vx,Hx,Wx,Ib
    a:0f np palignr Pq,Qq,Ib
    a:0f 66 (v)palignr Vx,Hx,Wx,Ib
    a:14 66 (v)pextrb RdMb,Vo,Ib
    a:15 66 (v)pextrw RdMw,Vo,Ib
    a:16 66 w1 (v)pextrq Ey,Vo,Ib
    a:16 66 (v)pextrd Ey,Vo,Ib
    a:17 66 (v)extractps Ed,Vo,Ib
    a:20 66 (v)pinsrb Vo,Ho,RdMb,Ib
    a:21 66 (v)insertps Vo,Ho,Wd,Ib
    a:22 66 w1 (v)pinsrq Vo,Ho,Ey,Ib
    a:22 66 (v)pinsrd Vo,Ho,Ey,Ib
    a:40 66 (v)dpps Vx,Hx,Wx,Ib
    a:41 66 (v)dppd Vo,Ho,Wo,Ib
    a:42 66 (v)mpsadbw Vx,Hx,Wx,Ib
    a:44 66 (v)pclmulqdq Vx,Hx,Wx,Ib
    a:60 66 (v)pcmpestrm Vo,Wo,Ib
    a:61 66 (v)pcmpestri Vo,Wo,Ib
    a:62 66 (v)pcmpistrm Vo,Wo,Ib
    a:63 66 (v)pcmpistri Vo,Wo,Ib
    a:cc np sha1rnds4 Vo,Wo,Ib
    a:df 66 (v)aeskeygenassist Vo,Wo,Ib
    """

  private static let vexRows = """

    8:0c vex 66 vpermilps Vx,Hx,Wx
    8:0d vex 66 vpermilpd Vx,Hx,Wx
    8:0e vex 66 vtestps Vx,Wx
    8:0f vex 66 vtestpd Vx,Wx
    8:13 vex 66 vcvtph2ps Vx,Wh
    8:16 vex 66 vpermps Vx,Hx,Wx
    8:18 vex 66 vbroadcastss Vx,Wd
    8:19 vex 66 vbroadcastsd Vx,Wq
    8:1a vex 66 m vbroadcastf128 Vx,Mo
    8:2c vex 66 m vmaskmovps Vx,Hx,Mx
    8:2d vex 66 m vmaskmovpd Vx,Hx,Mx
    8:2e vex 66 m vmaskmovps Mx,Hx,Vx
    8:2f vex 66 m vmaskmovpd Mx,Hx,Vx
    8:36 vex 66 vpermd Vx,Hx,Wx
    8:45 vex 66 w0 vpsrlvd Vx,Hx,Wx
    8:45 vex 66 w1 vpsrlvq Vx,Hx,Wx
    8:46 vex 66 vpsravd Vx,Hx,Wx
    8:47 vex 66 w0 vpsllvd Vx,Hx,Wx
    8:47 vex 66 w1 vpsllvq Vx,Hx,Wx
    8:58 vex 66 vpbroadcastd Vx,Wd
    8:59 vex 66 vpbroadcastq Vx,Wq
    8:5a vex 66 m vbroadcasti128 Vx,Mo
    8:78 vex 66 vpbroadcastb Vx,Wb
    8:79 vex 66 vpbroadcastw Vx,Ww
    8:8c vex 66 m w0 vpmaskmovd Vx,Hx,Mx
    8:8c vex 66 m w1 vpmaskmovq Vx,Hx,Mx
    8:8e vex 66 m w0 vpmaskmovd Mx,Hx,Vx
    8:8e vex 66 m w1 vpmaskmovq Mx,Hx,Vx
    8:90 vex 66 m w0 vpgatherdd Vx,Xd,Hx
    8:90 vex 66 m w1 vpgatherdq Vx,Yq,Hx
    8:91 vex 66 m w0 vpgatherqd Vo,Xd,Ho
    8:91 vex 66 m w1 vpgatherqq Vx,Xq,Hx
    8:92 vex 66 m w0 vgatherdps Vx,Xd,Hx
    8:92 vex 66 m w1 vgatherdpd Vx,Yq,Hx
    8:93 vex 66 m w0 vgatherqps Vo,Xd,Ho
    8:93 vex 66 m w1 vgatherqpd Vx,Xq,Hx
    a:00 vex 66 w1 vpermq Vx,Wx,Ib
    a:01 vex 66 w1 vpermpd Vx,Wx,Ib
    a:02 vex 66 vpblendd Vx,Hx,Wx,Ib
    a:04 vex 66 vpermilps Vx,Wx,Ib
    a:05 vex 66 vpermilpd Vx,Wx,Ib
    a:06 vex 66 vperm2f128 Vx,Hx,Wx,Ib
    a:18 vex 66 vinsertf128 Vx,Hx,Wo,Ib
    a:19 vex 66 vextractf128 Wo,Vx,Ib
    a:1d vex 66 vcvtps2ph Wh,Vx,Ib
    a:38 vex 66 vinserti128 Vx,Hx,Wo,Ib
    a:39 vex 66 vextracti128 Wo,Vx,Ib
    a:46 vex 66 vperm2i128 Vx,Hx,Wx,Ib
    a:4a vex 66 vblendvps Vx,Hx,Wx,Lx
    a:4b vex 66 vblendvpd Vx,Hx,Wx,Lx
    a:4c vex 66 vpblendvb Vx,Hx,Wx,Lx
    """
}
