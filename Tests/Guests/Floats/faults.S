# Routines that run into an exception each, on a `struct fault` of exceptions.c at RDI, and lists of them.

# fault LIST, INSTRUCTIONS, exceptions unmasked in the x87 control word, and in MXCSR, the bits of ST(0) and XMM0, and of ST(1)
# and XMM1.
.macro fault list, text, x87=0, sse=0, x=0, x_upper=0, y=0, y_upper=0
    .text
1:  push    %rbx
    mov     $0x1234, %ebx
    xor     %eax, %eax
    fninit
    fldt    16(%rdi)
    fldt    (%rdi)
    movups  (%rdi), %xmm0
    movups  16(%rdi), %xmm1
    fldcw   48(%rdi)
    ldmxcsr 52(%rdi)
3:  \text
    fwait
    mov     %rbx, 56(%rdi)
    mov     %rax, 64(%rdi)
    fxsave  128(%rdi)
    fninit
    movl    $0x1f80, 52(%rdi)
    ldmxcsr 52(%rdi)
    pop     %rbx
    ret
    .section .rodata
2:  .asciz  "\text"
    .section \list, "a"
    .quad   1b, 2b, 3b, \x87, \sse, \x, \x_upper, \y, \y_upper
.endm

.set INVALID, 1
.set DENORMAL, 2
.set ZERO, 4
.set OVERFLOW, 8
.set UNDERFLOW, 16
.set PRECISION, 32
.set ONE, 0x8000000000000000

.macro x87 text, unmasked, x, x_upper, y=ONE, y_upper=0x3fff
    fault faults, "\text", \unmasked, 0, \x, \x_upper, \y, \y_upper
.endm
.macro sse text, unmasked, x, x_upper, y, y_upper
    fault faults, "\text", 0, \unmasked, \x, \x_upper, \y, \y_upper
.endm
.macro wide text, unmasked, x, x_upper, y, y_upper
    fault wide_faults, "vinsertf128 $1, %xmm1, %ymm0, %ymm2; vinsertf128 $1, %xmm0, %ymm1, %ymm3; \text", 0, \unmasked, \x, \x_upper, \y, \y_upper
.endm

x87 "fsqrt", INVALID, ONE, 0xbfff
x87 "fadd %st(1), %st", INVALID, ONE, 0x7fff, ONE, 0xffff
x87 "fmul %st, %st(1)", INVALID, 0, 0, ONE, 0x7fff
x87 "faddp %st, %st(1)", INVALID, 0x8000000000000001, 0x7fff
x87 "fadd %st(1), %st", INVALID, 0x4000000000000000, 0x4000
x87 "fcompp", INVALID, 0xc000000000000000, 0x7fff
x87 "fcomi %st(1), %st", INVALID, 0xc000000000000000, 0x7fff
x87 "fistpl 32(%rdi)", INVALID, ONE, 0x403e
x87 "fbstp 32(%rdi)", INVALID, ONE, 0x403e
x87 "fisttps 32(%rdi)", INVALID, ONE, 0x403e
x87 "fprem", INVALID, ONE, 0x3fff, 0, 0
x87 "fsin", INVALID, ONE, 0x7fff
x87 "fldz; fldz; fldz; fldz; fldz; fldz; fldz", INVALID, ONE, 0x4000
x87 "fstp %st; fstp %st; fstp %st", INVALID, ONE, 0x4000
x87 "fstp %st; fstp %st; fistl 32(%rdi)", INVALID, ONE, 0x4000
x87 "fadd %st(1), %st", DENORMAL, 1, 0
x87 "fsqrt", DENORMAL, 0x7fffffffffffffff, 0
x87 "fdiv %st(1), %st", ZERO, ONE, 0x3fff, 0, 0
x87 "fdivrp %st, %st(1)", ZERO, ONE, 0x3fff, 0, 0x8000
x87 "fyl2x", ZERO, 0, 0
x87 "fxtract", ZERO, 0, 0x8000
x87 "fmul %st(1), %st", OVERFLOW, 0xc000000000000000, 0x7ffe, 0xc000000000000001, 0x7000
x87 "fscale", OVERFLOW, 0xc000000000000000, 0x7ffe, 0xa000000000000000, 0x4002
x87 "fstps 32(%rdi)", OVERFLOW, 0xc000000000000000, 0x43e6
x87 "fstl 32(%rdi)", OVERFLOW, 0xc000000000000000, 0x7000
x87 "fmul %st(1), %st", UNDERFLOW, 0xc000000000000001, 0x0010, 0xc000000000000001, 0x1000
x87 "fscale", UNDERFLOW, 0xc000000000000000, 0x0002, 0xa000000000000000, 0xc002
x87 "fstpl 32(%rdi)", UNDERFLOW, 0xc000000000000000, 0x0010
x87 "fdiv %st, %st(1)", PRECISION, 0xc000000000000000, 0x4000
x87 "frndint", PRECISION, 0xc000000000000000, 0x3fff
x87 "fistpl 32(%rdi)", PRECISION, 0xc000000000000000, 0x3fff
x87 "fstps 32(%rdi)", PRECISION, 0xc90fdaa22168c235, 0x4000
x87 "fsqrt", PRECISION, ONE, 0x4000
x87 "fsin", PRECISION, ONE, 0x3fff
x87 "fmul %st(1), %st", 0x3f, 0xc000000000000000, 0x7ffe, 0xc000000000000001, 0x7000

sse "sqrtss %xmm0, %xmm1", INVALID, 0xbf800000, 0, 0, 0
sse "addps %xmm1, %xmm0", INVALID, 0x7f8000003f800000, 0x3f800000, 0xff8000003f800001, 0x33000000
sse "cvttss2si %xmm0, %eax", INVALID, 0x7fc00000, 0, 0, 0
sse "cvtpd2dq %xmm0, %xmm1", INVALID, 0x3ff8000000000000, 0x41e0000000000000, 0, 0
sse "comisd %xmm0, %xmm1", INVALID, 0x7ff8000000000000, 0, 0, 0
sse "ucomisd %xmm0, %xmm1", INVALID, 0x7ff0000000000001, 0, 0, 0
sse "cmpltps %xmm1, %xmm0", INVALID, 0x3f800000, 0x7fc00000, 0, 0
sse "addsd %xmm1, %xmm0", DENORMAL, 1, 0, 0x3ff0000000000000, 0
sse "cvtps2pd %xmm0, %xmm1", DENORMAL, 0x0000000100000000, 0, 0, 0
sse "divps %xmm1, %xmm0", ZERO, 0x3f8000003f800000, 0x3f80000000000001, 0x0000000040400000, 0x3f8000003f800000
sse "divsd %xmm1, %xmm0", ZERO, 0xbff0000000000000, 0, 0, 0
sse "mulps %xmm1, %xmm0", OVERFLOW, 0x7f0000003f800001, 0x3f800000, 0x7f0000003f800001, 0
sse "cvtsd2ss %xmm0, %xmm1", OVERFLOW, 0x7fe0000000000001, 0, 0, 0
sse "mulsd %xmm1, %xmm0", UNDERFLOW, 0x0010000000000000, 0, 0x3fe0000000000000, 0
sse "mulsd %xmm1, %xmm0", UNDERFLOW, 0x0010000000000001, 0, 0x3fdfffffffffffff, 0
sse "cvtpd2ps %xmm0, %xmm1", UNDERFLOW, 0x3ff0000000000000, 0x3680000000000000, 0, 0
sse "divsd %xmm1, %xmm0", PRECISION, 0x3ff0000000000000, 0, 0x4008000000000000, 0
sse "cvtps2dq %xmm0, %xmm1", PRECISION, 0x3fc0000040000000, 0, 0, 0
sse "cvtdq2ps %xmm0, %xmm1", PRECISION, 0x7fffffff00000001, 0, 0, 0
sse "roundsd $4, %xmm0, %xmm1", PRECISION, 0x3ff8000000000000, 0, 0, 0
sse "dpps $0xff, %xmm1, %xmm0", OVERFLOW, 0x7f0000003f800000, 0x3f8000003f800000, 0x7f0000003f800000, 0x3f8000003f800000
sse "haddps %xmm1, %xmm0", INVALID, 0xff8000007f800000, 0, 0x3f800000, 0
sse "mulss %xmm1, %xmm0", 0x3f, 0x7f000001, 0, 0x7f000001, 0

# Exceptions of the other kinds: the handler mends ECX and the word that LDMXCSR loads.
fault faults, "xor %ecx, %ecx; mov $7, %eax; cltd; idivl %ecx"
fault faults, "mov $0, %ecx; mov $7, %eax; div %cl"
fault faults, "movl $0x10000, 72(%rdi); ldmxcsr 72(%rdi)"

wide "vdivps %ymm2, %ymm3, %ymm0", ZERO, 0x3f8000003f800000, 0x3f8000003f800000, 0x3f80000040400000, 0x3f8000003f800000
wide "vdivps %ymm2, %ymm3, %ymm0", ZERO, 0x3f8000003f800000, 0x3f80000000000000, 0x3f80000040400000, 0x3f8000003f800000
wide "vsqrtpd %ymm2, %ymm0", INVALID, 0x3ff0000000000000, 0x3ff0000000000000, 0x4008000000000000, 0xbff0000000000000
wide "vfmadd213ps %ymm2, %ymm3, %ymm0", OVERFLOW, 0x7f0000003f800000, 0x3f8000003f800000, 0x7f0000003f800001, 0x3f800000
wide "vcvtps2ph $0, %ymm2, %xmm0", OVERFLOW, 0x3f8000003f800000, 0x3f8000003f800000, 0x4f8000003f800000, 0
wide "vcvtph2ps %xmm0, %ymm2", INVALID, 0x3c003c003c003c00, 0x3c003c003c007d01, 0, 0
wide "vmaxpd %ymm2, %ymm3, %ymm0", INVALID, 0x3ff0000000000000, 0x7ff8000000000000, 0, 0
wide "vcmpps $16, %ymm2, %ymm3, %ymm0", INVALID, 0x3f8000003f800000, 0, 0x7fc000003f800000, 0

.section .note.GNU-stack, "", @progbits
