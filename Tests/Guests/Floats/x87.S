# Routines that carry out one x87 instruction each on a `struct machine` of x87.c at RDI, and a list of them.

# trial INSTRUCTION, KIND of memory operand, MASK of status bits that the manual defines after it. Where it defines no C0, C2
# and C3, they are not looked at.
.macro trial text, kind=0, mask=0xbaff
    .text
1:  push    128(%rdi)
    popfq
    lea     112(%rdi), %rsi
    mov     136(%rdi), %rax
    frstor  (%rdi)
    \text
    fnsave  (%rdi)
    mov     %rax, 136(%rdi)
    pushfq
    pop     128(%rdi)
    ret
    .section .rodata
2:  .asciz  "\text"
    .section x87_trials, "a"
    .quad   1b, 2b, \kind, \mask
.endm

.set SINGLE, 1
.set DOUBLE, 2
.set INTEGER, 3
.set DECIMAL, 4
.set EXTENDED, 5
.set ALL, 0xffff
.set WITH_C2, 0xbeff
.set WITHOUT_C1, 0xb8ff

.irp name, fadd, fmul, fsub, fsubr, fdiv, fdivr
    trial "\name %st(1), %st"
    trial "\name %st, %st(1)"
    trial "\name\()p %st, %st(1)"
    trial "\name\()s (%rsi)", SINGLE
    trial "\name\()l (%rsi)", DOUBLE
.endr
.irp name, fiadd, fimul, fisub, fisubr, fidiv, fidivr
    trial "\name\()s (%rsi)", INTEGER
    trial "\name\()l (%rsi)", INTEGER
.endr

.irp name, "fcom %st(1)", "fcomp %st(1)", fcompp, "fucom %st(1)", "fucomp %st(1)", fucompp, ftst, fxam, fprem, fprem1
    trial "\name", 0, ALL
.endr
.irp name, com, comp
    trial "f\name\()s (%rsi)", SINGLE, ALL
    trial "f\name\()l (%rsi)", DOUBLE, ALL
    trial "fi\name\()s (%rsi)", INTEGER, ALL
.endr
.irp name, fcomi, fcomip, fucomi, fucomip
    trial "\name %st(1), %st", 0, WITHOUT_C1
.endr
.irp condition, b, e, be, u, nb, ne, nbe, nu
    trial "fcmov\condition %st(1), %st"
.endr

.irp name, fld1, fldl2t, fldl2e, fldpi, fldlg2, fldln2, fldz
    trial "\name"
.endr
.irp name, fchs, fabs, fsqrt, frndint, fscale, fxtract, f2xm1, fyl2x, fpatan, fyl2xp1
    trial "\name"
.endr
.irp name, fsin, fcos, fsincos, fptan
    trial "\name", 0, WITH_C2
.endr

trial "flds (%rsi)", SINGLE
trial "fldl (%rsi)", DOUBLE
trial "fldt (%rsi)", EXTENDED
trial "filds (%rsi)", INTEGER
trial "fildl (%rsi)", INTEGER
trial "fildll (%rsi)", INTEGER
trial "fbld (%rsi)", DECIMAL
.irp name, fsts, fstps, fstl, fstpl, fstpt, fists, fistl, fistps, fistpl, fistpll, fisttps, fisttpl, fisttpll, fbstp
    trial "\name (%rsi)"
.endr

.irp name, "fxch %st(1)", "fld %st(1)", "fst %st(3)", "fstp %st(2)", fincstp, fdecstp, fnop, "fnstcw (%rsi)", fnclex
    trial "\name"
.endr
.irp name, "fnstsw (%rsi)", "fnstsw %ax"
    trial "\name", 0, ALL
.endr
trial "ffree %st(1)", 0, WITHOUT_C1

.section .note.GNU-stack, "", @progbits
