// Rows of `InstructionTable` for general and system instructions: SDM Vol. 2D Appendix A, Tables.
// "|" separates the mnemonics for operands of 16, 32 and 64 bits.

extension InstructionTable {
  private static let arithmetic = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"]
  private static let shifts = ["rol", "ror", "rcl", "rcr", "shl", "shr", "shl", "sar"]
  static let conditions = [
    "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g",
  ]

  static var generalRows: String {
    var rows = oneByteRows + twoByteRows
    for (number, name) in arithmetic.enumerated() {
      let forms = ["Eb,Gb", "Ev,Gv", "Gb,Eb", "Gv,Ev", "al,Ib", "rAX,Iz"]
      for (form, operands) in forms.enumerated() {
        rows += "\n1:\(hex(number * 8 + form)) \(name) \(operands)"
      }
      for (opcode, operands) in [
        ("80", "Eb,Ib"), ("81", "Ev,Iz"), ("82", "Eb,Ib"), ("83", "Ev,Ibs"),
      ] {
        rows += "\n1:\(opcode) /\(number) \(name) \(operands)"
      }
    }
    let counts = [
      ("c0", "Eb,Ib"), ("c1", "Ev,Ib"), ("d0", "Eb,1"), ("d1", "Ev,1"), ("d2", "Eb,cl"),
      ("d3", "Ev,cl"),
    ]
    for (number, name) in shifts.enumerated() {
      for (opcode, operands) in counts { rows += "\n1:\(opcode) /\(number) \(name) \(operands)" }
    }
    for (number, condition) in conditions.enumerated() {
      rows += "\n1:\(hex(0x70 + number)) j\(condition) Jb"
      rows += "\n2:\(hex(0x80 + number)) j\(condition) Jz"
      rows += "\n2:\(hex(0x40 + number)) cmov\(condition) Gv,Ev"
      rows += "\n2:\(hex(0x90 + number)) set\(condition) Eb"
    }
    for register in 0..<8 {
      rows += "\n1:\(hex(0x40 + register)) inc Zv\n1:\(hex(0x48 + register)) dec Zv"
      rows += "\n1:\(hex(0x50 + register)) push Zs\n1:\(hex(0x58 + register)) pop Zs"
      rows += "\n1:\(hex(0xb0 + register)) mov Zb,Ib\n1:\(hex(0xb8 + register)) mov Zv,Iv"
      rows += "\n2:\(hex(0xc8 + register)) bswap Zv"
      if register > 0 { rows += "\n1:\(hex(0x90 + register)) xchg Zv,rAX" }
    }
    for opcode in 0x19...0x1f { rows += "\n2:\(hex(opcode)) nop Ev" }
    return rows
  }

  private static let oneByteRows = """
    1:06 push es
    1:07 pop es
    1:0e push cs
    1:16 push ss
    1:17 pop ss
    1:1e push ds
    1:1f pop ds
    1:27 daa
    1:2f das
    1:37 aaa
    1:3f aas
    1:60 pusha|pushad|pushad
    1:61 popa|popad|popad
    1:62 bound Gv,Ma
    1:63 n64 arpl Ew,Gw
    1:63 64 movsxd Gv,Ed
    1:68 push Is
    1:69 imul Gv,Ev,Iz
    1:6a push Ibs
    1:6b imul Gv,Ev,Ibs
    1:6c insb
    1:6d insw|insd|insd
    1:6e outsb
    1:6f outsw|outsd|outsd
    1:84 test Eb,Gb
    1:85 test Ev,Gv
    1:86 xchg Eb,Gb
    1:87 xchg Ev,Gv
    1:88 mov Eb,Gb
    1:89 mov Ev,Gv
    1:8a mov Gb,Eb
    1:8b mov Gv,Ev
    1:8c mov RvMw,Sw
    1:8d lea Gv,M
    1:8e mov Sw,Ew
    1:8f /0 pop Es
    1:90 f3 pause
    1:90 rexb xchg Zv,rAX
    1:90 nop
    1:98 cbw|cwde|cdqe
    1:99 cwd|cdq|cqo
    1:9a call Ap
    1:9b wait
    1:9c ^pushf|pushfd|pushfq
    1:9d ^popf|popfd|popfq
    1:9e sahf
    1:9f lahf
    1:a0 mov al,Ob
    1:a1 mov rAX,Ov
    1:a2 mov Ob,al
    1:a3 mov Ov,rAX
    1:a4 movsb
    1:a5 movsw|movsd|movsq
    1:a6 cmpsb
    1:a7 cmpsw|cmpsd|cmpsq
    1:a8 test al,Ib
    1:a9 test rAX,Iz
    1:aa stosb
    1:ab stosw|stosd|stosq
    1:ac lodsb
    1:ad lodsw|lodsd|lodsq
    1:ae scasb
    1:af scasw|scasd|scasq
    1:c2 ret Iw
    1:c3 ret
    1:c4 les Gv,Mp
    1:c5 lds Gv,Mp
    1:c6 /0 mov Eb,Ib
    1:c7 /0 mov Ev,Iz
    1:c8 enter Iw,I2
    1:c9 leave
    1:ca retf Iw
    1:cb retf
    1:cc int3
    1:cd int Ib
    1:ce into
    1:cf iret|iretd|iretq
    1:d4 aam Ib
    1:d5 aad Ib
    1:d6 salc
    1:d7 xlatb
    1:e0 loopne Jb
    1:e1 loope Jb
    1:e2 loop Jb
    1:e3 @jcxz|jecxz|jrcxz Jb
    1:e4 in al,Ib
    1:e5 in eAX,Ib
    1:e6 out Ib,al
    1:e7 out Ib,eAX
    1:e8 call Jz
    1:e9 jmp Jz
    1:ea jmp Ap
    1:eb jmp Jb
    1:ec in al,dx
    1:ed in eAX,dx
    1:ee out dx,al
    1:ef out dx,eAX
    1:f1 int1
    1:f4 hlt
    1:f5 cmc
    1:f6 /0 test Eb,Ib
    1:f6 /1 test Eb,Ib
    1:f6 /2 not Eb
    1:f6 /3 neg Eb
    1:f6 /4 mul Eb
    1:f6 /5 imul Eb
    1:f6 /6 div Eb
    1:f6 /7 idiv Eb
    1:f7 /0 test Ev,Iz
    1:f7 /1 test Ev,Iz
    1:f7 /2 not Ev
    1:f7 /3 neg Ev
    1:f7 /4 mul Ev
    1:f7 /5 imul Ev
    1:f7 /6 div Ev
    1:f7 /7 idiv Ev
    1:f8 clc
    1:f9 stc
    1:fa cli
    1:fb sti
    1:fc cld
    1:fd std
    1:fe /0 inc Eb
    1:fe /1 dec Eb
    1:ff /0 inc Ev
    1:ff /1 dec Ev
    1:ff /2 call Ef
    1:ff /3 call Mp
    1:ff /4 jmp Ef
    1:ff /5 jmp Mp
    1:ff /6 push Es
    """

  private static let twoByteRows = """

    2:00 /0 sldt RvMw
    2:00 /1 str RvMw
    2:00 /2 lldt Ew
    2:00 /3 ltr Ew
    2:00 /4 verr Ew
    2:00 /5 verw Ew
    2:01 m /0 sgdt M
    2:01 m /1 sidt M
    2:01 m /2 lgdt M
    2:01 m /3 lidt M
    2:01 /4 smsw RvMw
    2:01 /6 lmsw Ew
    2:01 m /7 invlpg Mb
    2:01 =c8 monitor
    2:01 =c9 mwait
    2:01 =ca clac
    2:01 =cb stac
    2:01 =d0 xgetbv
    2:01 =d1 xsetbv
    2:01 =ee rdpkru
    2:01 =ef wrpkru
    2:01 =f8 swapgs
    2:01 =f9 rdtscp
    2:02 lar Gv,Ew
    2:03 lsl Gv,Ew
    2:05 syscall
    2:06 clts
    2:07 sysret
    2:08 invd
    2:09 wbinvd
    2:0b ud2
    2:0d m /1 prefetchw Mb
    2:0d m /2 prefetchwt1 Mb
    2:0d m prefetch Mb
    2:0d r nop Ev
    2:18 m /0 prefetchnta Mb
    2:18 m /1 prefetcht0 Mb
    2:18 m /2 prefetcht1 Mb
    2:18 m /3 prefetcht2 Mb
    2:18 nop Ev
    2:1e f3 =fa endbr64
    2:1e f3 =fb endbr32
    2:20 mov Rm,Cd
    2:21 mov Rm,Dd
    2:22 mov Cd,Rm
    2:23 mov Dd,Rm
    2:30 wrmsr
    2:31 rdtsc
    2:32 rdmsr
    2:33 rdpmc
    2:34 sysenter
    2:35 sysexit
    2:a0 push fs
    2:a1 pop fs
    2:a2 cpuid
    2:a3 bt Ev,Gv
    2:a4 shld Ev,Gv,Ib
    2:a5 shld Ev,Gv,cl
    2:a8 push gs
    2:a9 pop gs
    2:aa rsm
    2:ab bts Ev,Gv
    2:ac shrd Ev,Gv,Ib
    2:ad shrd Ev,Gv,cl
    2:ae np m /0 w1 fxsave64 M
    2:ae np m /0 fxsave M
    2:ae np m /1 w1 fxrstor64 M
    2:ae np m /1 fxrstor M
    2:ae np m /4 w1 xsave64 M
    2:ae np m /4 xsave M
    2:ae np m /5 w1 xrstor64 M
    2:ae np m /5 xrstor M
    2:ae np m /6 w1 xsaveopt64 M
    2:ae np m /6 xsaveopt M
    2:ae np m /7 clflush Mb
    2:ae 66 m /6 clwb Mb
    2:ae 66 m /7 clflushopt Mb
    2:ae np r /5 lfence
    2:ae np r /6 mfence
    2:ae np r /7 sfence
    2:ae f3 r /0 rdfsbase Ry
    2:ae f3 r /1 rdgsbase Ry
    2:ae f3 r /2 wrfsbase Ry
    2:ae f3 r /3 wrgsbase Ry
    2:af imul Gv,Ev
    2:b0 cmpxchg Eb,Gb
    2:b1 cmpxchg Ev,Gv
    2:b2 lss Gv,Mp
    2:b3 btr Ev,Gv
    2:b4 lfs Gv,Mp
    2:b5 lgs Gv,Mp
    2:b6 movzx Gv,Eb
    2:b7 movzx Gv,Ew
    2:b8 f3 popcnt Gv,Ev
    2:b9 ud1 Gv,Ev
    2:ba /4 bt Ev,Ib
    2:ba /5 bts Ev,Ib
    2:ba /6 btr Ev,Ib
    2:ba /7 btc Ev,Ib
    2:bb btc Ev,Gv
    2:bc f3 tzcnt Gv,Ev
    2:bc bsf Gv,Ev
    2:bd f3 lzcnt Gv,Ev
    2:bd bsr Gv,Ev
    2:be movsx Gv,Eb
    2:bf movsx Gv,Ew
    2:c0 xadd Eb,Gb
    2:c1 xadd Ev,Gv
    2:c3 m movnti My,Gy
    2:c7 m /1 w1 cmpxchg16b Mo
    2:c7 m /1 cmpxchg8b Mq
    2:c7 m /3 w1 xrstors64 M
    2:c7 m /3 xrstors M
    2:c7 m /4 w1 xsavec64 M
    2:c7 m /4 xsavec M
    2:c7 m /5 w1 xsaves64 M
    2:c7 m /5 xsaves M
    2:c7 f3 r /7 rdpid Rm
    2:c7 r /6 rdrand Rv
    2:c7 r /7 rdseed Rv
    2:ff ud0 Gv,Ev
    8:f0 f2 crc32 Gy,Eb
    8:f1 f2 crc32 Gy,Ev
    8:f0 m movbe Gv,Mv
    8:f1 m movbe Mv,Gv
    8:82 66 m invpcid Gm,Mo
    8:f6 66 adcx Gy,Ey
    8:f6 f3 adox Gy,Ey
    8:f2 vex np andn Gy,By,Ey
    8:f3 vex np /1 blsr By,Ey
    8:f3 vex np /2 blsmsk By,Ey
    8:f3 vex np /3 blsi By,Ey
    8:f5 vex np bzhi Gy,Ey,By
    8:f5 vex f2 pdep Gy,By,Ey
    8:f5 vex f3 pext Gy,By,Ey
    8:f6 vex f2 mulx Gy,By,Ey
    8:f7 vex np bextr Gy,Ey,By
    8:f7 vex 66 shlx Gy,Ey,By
    8:f7 vex f3 sarx Gy,Ey,By
    8:f7 vex f2 shrx Gy,Ey,By
    a:f0 vex f2 rorx Gy,Ey,Ib
    """
}
