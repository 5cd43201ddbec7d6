# Routines that carry out one instruction of MMX to SSE4.2 each on a `struct vectors` of vectors.c at RDI, and a list of them.

.macro trial text, kind=0
    .text
1:  push    168(%rdi)
    popfq
    lea     192(%rdi), %rsi
    mov     144(%rdi), %rax
    mov     152(%rdi), %rcx
    mov     160(%rdi), %rdx
    movups  (%rdi), %xmm0
    movups  32(%rdi), %xmm1
    movups  64(%rdi), %xmm2
    movq    128(%rdi), %mm0
    movq    136(%rdi), %mm1
    ldmxcsr 176(%rdi)
    \text
    stmxcsr 176(%rdi)
    ldmxcsr 180(%rdi)
    movups  %xmm0, (%rdi)
    movups  %xmm1, 32(%rdi)
    movups  %xmm2, 64(%rdi)
    movq    %mm0, 128(%rdi)
    movq    %mm1, 136(%rdi)
    mov     %rax, 144(%rdi)
    mov     %rcx, 152(%rdi)
    mov     %rdx, 160(%rdi)
    pushfq
    pop     168(%rdi)
    emms
    ret
    .section .rodata
2:  .asciz  "\text"
    .section sse_trials, "a"
    .quad   1b, 2b, \kind, 0
.endm

# What rounds, or raises exceptions.
.irp name, add, sub, mul, div, min, max, sqrt
    .irp form, ps, pd, ss, sd
        trial "\name\form %xmm1, %xmm0"
    .endr
.endr
.irp form, ps, pd, ss, sd
    .irp predicate, 0, 1, 2, 3, 4, 5, 6, 7
        trial "cmp\form $\predicate, %xmm1, %xmm0"
    .endr
    .irp rounding, 0, 1, 2, 3, 4, 12
        trial "round\form $\rounding, %xmm1, %xmm0"
    .endr
.endr
.irp name, comiss, comisd, ucomiss, ucomisd, rcpps, rcpss, rsqrtps, rsqrtss, addsubps, addsubpd, haddps, haddpd, hsubps, hsubpd
    trial "\name %xmm1, %xmm0"
.endr
.irp name, cvtps2pd, cvtpd2ps, cvtss2sd, cvtsd2ss, cvtps2dq, cvttps2dq, cvtpd2dq, cvttpd2dq, cvtdq2ps, cvtdq2pd
    trial "\name %xmm1, %xmm0"
.endr
.irp name, cvtps2pi, cvttps2pi, cvtpd2pi, cvttpd2pi
    trial "\name %xmm1, %mm0"
.endr
trial "cvtpi2ps %mm1, %xmm0"
trial "cvtpi2pd %mm1, %xmm0"
.irp name, cvtss2si, cvttss2si, cvtsd2si, cvttsd2si
    trial "\name %xmm1, %eax"
    trial "\name %xmm1, %rax"
.endr
.irp name, cvtsi2ss, cvtsi2sd
    trial "\name\()l %eax, %xmm0"
    trial "\name\()q %rax, %xmm0"
    trial "\name\()l (%rsi), %xmm0"
.endr
.irp mask, 0x31, 0xf1, 0x7f, 0xff
    trial "dpps $\mask, %xmm1, %xmm0"
    trial "dppd $\mask, %xmm1, %xmm0"
.endr
trial "addps (%rsi), %xmm0"
trial "mulsd (%rsi), %xmm0"
trial "cvtps2pd (%rsi), %xmm0"

# What moves and shuffles.
.irp name, andps, andnps, orps, xorps, andpd, andnpd, orpd, xorpd, unpckhps, unpcklps, unpckhpd, unpcklpd, movaps, movss, movsd, movhlps, movlhps, movddup, movshdup, movsldup, movq, movdqa
    trial "\name %xmm1, %xmm0"
.endr
.irp name, movlps, movhps, movlpd, movhpd, movss, movsd, movups, lddqu, movntdqa, movq
    trial "\name (%rsi), %xmm0"
.endr
.irp name, movlps, movhps, movss, movsd, movntps, movntdq
    trial "\name %xmm0, (%rsi)"
.endr
.irp control, 0x1b, 0x4e, 0xe4
    .irp name, shufps, shufpd, pshufd, pshufhw, pshuflw, blendps, blendpd, pblendw, insertps, palignr, mpsadbw
        trial "\name $\control, %xmm1, %xmm0"
    .endr
    trial "pshufw $\control, %mm1, %mm0"
.endr
.irp name, movmskps, movmskpd, pmovmskb
    trial "\name %xmm1, %eax"
.endr
.irp name, blendvps, blendvpd, pblendvb
    trial "\name %xmm0, %xmm1, %xmm2"
.endr
trial "extractps $2, %xmm1, %eax"
trial "movd %xmm1, %eax"
trial "movq %xmm1, %rax"
trial "movd %eax, %xmm0"
trial "movdq2q %xmm1, %mm0"
trial "movq2dq %mm1, %xmm0"
.irp position, 0, 1, 3
    trial "pextrb $\position, %xmm1, %eax"
    trial "pextrw $\position, %xmm1, %eax"
    trial "pextrd $\position, %xmm1, %eax"
    trial "pextrq $\position, %xmm1, %rax"
    trial "pinsrb $\position, %eax, %xmm0"
    trial "pinsrw $\position, %eax, %xmm0"
    trial "pinsrd $\position, %eax, %xmm0"
    trial "pinsrq $\position, %rax, %xmm0"
.endr

# Integers, in both kinds of registers where there are both.
.irp name, paddb, paddw, paddd, paddq, psubb, psubw, psubd, psubq, paddsb, paddsw, paddusb, paddusw, psubsb, psubsw, psubusb, psubusw, pand, pandn, por, pxor, pcmpeqb, pcmpeqw, pcmpeqd, pcmpgtb, pcmpgtw, pcmpgtd, pmullw, pmulhw, pmulhuw, pmuludq, pmaddwd, pavgb, pavgw, psadbw, pmaxub, pmaxsw, pminub, pminsw, packsswb, packssdw, packuswb, punpckhbw, punpckhwd, punpckhdq, punpcklbw, punpcklwd, punpckldq, psllw, pslld, psllq, psrlw, psrld, psrlq, psraw, psrad, pshufb, phaddw, phaddd, phaddsw, phsubw, phsubd, phsubsw, pmaddubsw, pmulhrsw, psignb, psignw, psignd, pabsb, pabsw, pabsd
    trial "\name %mm1, %mm0"
    trial "\name %xmm1, %xmm0"
.endr
.irp name, punpckhqdq, punpcklqdq, packusdw, pcmpeqq, pcmpgtq, pmulld, pmuldq, pmaxsb, pmaxsd, pmaxuw, pmaxud, pminsb, pminsd, pminuw, pminud, phminposuw, ptest, pmovsxbw, pmovsxbd, pmovsxbq, pmovsxwd, pmovsxwq, pmovsxdq, pmovzxbw, pmovzxbd, pmovzxbq, pmovzxwd, pmovzxwq, pmovzxdq
    trial "\name %xmm1, %xmm0"
.endr
.irp name, psllw, pslld, psllq, psrlw, psrld, psrlq, psraw, psrad, pslldq, psrldq
    trial "\name $5, %xmm0"
.endr
.irp mode, 0x00, 0x0d, 0x18, 0x2e, 0x44, 0x79
    .irp name, pcmpestri, pcmpestrm, pcmpistri, pcmpistrm
        trial "\name $\mode, %xmm1, %xmm0", 1
    .endr
.endr
trial "crc32q %rcx, %rax"
trial "popcnt %rcx, %rax"

.section .note.GNU-stack, "", @progbits
