# Routines that carry out one instruction of AVX, AVX2, FMA or F16C each on a `struct vectors` of vectors.c at RDI, and a list
# of them.

.macro trial text, kind=0
    .text
1:  push    168(%rdi)
    popfq
    lea     192(%rdi), %rsi
    mov     144(%rdi), %rax
    vmovups (%rdi), %ymm0
    vmovups 32(%rdi), %ymm1
    vmovups 64(%rdi), %ymm2
    vmovups 96(%rdi), %ymm3
    ldmxcsr 176(%rdi)
    \text
    stmxcsr 176(%rdi)
    ldmxcsr 180(%rdi)
    vmovups %ymm0, (%rdi)
    vmovups %ymm1, 32(%rdi)
    vmovups %ymm2, 64(%rdi)
    vmovups %ymm3, 96(%rdi)
    mov     %rax, 144(%rdi)
    pushfq
    pop     168(%rdi)
    vzeroupper
    ret
    .section .rodata
2:  .asciz  "\text"
    .section avx_trials, "a"
    .quad   1b, 2b, \kind, 0
.endm

# both OPERATION: on whole registers and on their lower halves, whose upper halves become zero.
.macro both name
    trial "\name %ymm1, %ymm2, %ymm0"
    trial "\name %xmm1, %xmm2, %xmm0"
.endm
.macro both_of_one name
    trial "\name %ymm1, %ymm0"
    trial "\name %xmm1, %xmm0"
.endm

# What rounds, or raises exceptions.
.irp name, add, sub, mul, div, min, max
    both "v\name\()ps"
    both "v\name\()pd"
    trial "v\name\()ss %xmm1, %xmm2, %xmm0"
    trial "v\name\()sd %xmm1, %xmm2, %xmm0"
.endr
.irp predicate, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    both "vcmpps $\predicate,"
    trial "vcmppd $\predicate, %ymm1, %ymm2, %ymm0"
    trial "vcmpss $\predicate, %xmm1, %xmm2, %xmm0"
    trial "vcmpsd $\predicate, %xmm1, %xmm2, %xmm0"
.endr
.irp rounding, 0, 1, 2, 3, 4, 12
    both_of_one "vroundps $\rounding,"
    both_of_one "vroundpd $\rounding,"
    trial "vroundss $\rounding, %xmm1, %xmm2, %xmm0"
    trial "vroundsd $\rounding, %xmm1, %xmm2, %xmm0"
.endr
.irp name, vsqrtps, vsqrtpd, vrcpps, vrsqrtps, vcvtps2dq, vcvttps2dq, vcvtdq2ps
    both_of_one "\name"
.endr
.irp name, vaddsubps, vaddsubpd, vhaddps, vhaddpd, vhsubps, vhsubpd
    both "\name"
.endr
.irp name, vsqrtss, vsqrtsd, vrcpss, vrsqrtss, vcvtss2sd, vcvtsd2ss
    trial "\name %xmm1, %xmm2, %xmm0"
.endr
.irp name, vcvtps2pd, vcvtdq2pd, vcvtph2ps
    trial "\name %xmm1, %ymm0"
    trial "\name %xmm1, %xmm0"
.endr
.irp name, vcvtpd2ps, vcvtpd2dq, vcvttpd2dq
    trial "\name\()y %ymm1, %xmm0"
    trial "\name\()x %xmm1, %xmm0"
.endr
.irp rounding, 0, 1, 2, 3, 4
    trial "vcvtps2ph $\rounding, %ymm1, %xmm0"
    trial "vcvtps2ph $\rounding, %xmm1, %xmm0"
    trial "vcvtps2ph $\rounding, %ymm1, (%rsi)"
.endr
.irp name, vcvtss2si, vcvttss2si, vcvtsd2si, vcvttsd2si
    trial "\name %xmm1, %rax"
.endr
trial "vcvtsi2ssq %rax, %xmm2, %xmm0"
trial "vcvtsi2sdq %rax, %xmm2, %xmm0"
.irp name, vcomiss, vcomisd, vucomiss, vucomisd
    trial "\name %xmm1, %xmm0"
.endr
both "vdpps $0xf1,"
both "vdpps $0x7e,"
trial "vdppd $0x31, %xmm1, %xmm2, %xmm0"
.irp name, vfmadd, vfmsub, vfnmadd, vfnmsub
    .irp form, 132ps, 213ps, 231ps, 132pd, 213pd, 231pd
        both "\name\form"
    .endr
    .irp form, 132ss, 213ss, 231ss, 132sd, 213sd, 231sd
        trial "\name\form %xmm1, %xmm2, %xmm0"
    .endr
.endr
.irp name, vfmaddsub, vfmsubadd
    .irp form, 132ps, 213ps, 231ps, 132pd, 213pd, 231pd
        both "\name\form"
    .endr
.endr
trial "vaddps (%rsi), %ymm2, %ymm0"
trial "vmulsd (%rsi), %xmm2, %xmm0"
trial "vfmadd231pd (%rsi), %ymm2, %ymm0"

# What moves and shuffles.
.irp name, vandps, vandnps, vorps, vxorps, vandpd, vandnpd, vorpd, vxorpd, vunpckhps, vunpcklps, vunpckhpd, vunpcklpd, vpermilps, vpermilpd
    both "\name"
.endr
.irp control, 0x1b, 0xe4
    .irp name, vshufps, vshufpd, vblendps, vblendpd, vpblendw, vpblendd, vpalignr, vmpsadbw
        both "\name $\control,"
    .endr
    .irp name, vpermilps, vpermilpd, vpshufd, vpshufhw, vpshuflw
        both_of_one "\name $\control,"
    .endr
    trial "vpermq $\control, %ymm1, %ymm0"
    trial "vpermpd $\control, %ymm1, %ymm0"
    trial "vinsertps $\control, %xmm1, %xmm2, %xmm0"
.endr
.irp control, 0x01, 0x12, 0x83
    trial "vperm2f128 $\control, %ymm1, %ymm2, %ymm0"
    trial "vperm2i128 $\control, %ymm1, %ymm2, %ymm0"
.endr
trial "vpermd %ymm1, %ymm2, %ymm0"
trial "vpermps %ymm1, %ymm2, %ymm0"
.irp name, vblendvps, vblendvpd, vpblendvb
    trial "\name %ymm3, %ymm1, %ymm2, %ymm0"
    trial "\name %xmm3, %xmm1, %xmm2, %xmm0"
.endr
.irp half, 0, 1
    trial "vextractf128 $\half, %ymm1, %xmm0"
    trial "vextracti128 $\half, %ymm1, (%rsi)"
    trial "vinsertf128 $\half, %xmm1, %ymm2, %ymm0"
    trial "vinserti128 $\half, (%rsi), %ymm2, %ymm0"
.endr
.irp name, vbroadcastss, vbroadcastsd, vpbroadcastb, vpbroadcastw, vpbroadcastd, vpbroadcastq
    trial "\name %xmm1, %ymm0"
    trial "\name (%rsi), %ymm0"
.endr
trial "vbroadcastf128 (%rsi), %ymm0"
trial "vbroadcasti128 (%rsi), %ymm0"
.irp name, vmaskmovps, vmaskmovpd, vpmaskmovd, vpmaskmovq
    trial "\name (%rsi), %ymm1, %ymm0"
    trial "\name %ymm0, %ymm1, (%rsi)"
    trial "\name %xmm0, %xmm1, (%rsi)"
.endr
# Indices that stay in the 64 bytes of memory.
.irp name, vgatherdps, vpgatherdd
    trial "vpsrld $27, %ymm2, %ymm2; \name %ymm1, (%rsi, %ymm2), %ymm0"
    trial "vpsrld $27, %xmm2, %xmm2; \name %xmm1, (%rsi, %xmm2), %xmm0"
.endr
.irp name, vgatherqpd, vpgatherqq
    trial "vpsrlq $59, %ymm2, %ymm2; \name %ymm1, (%rsi, %ymm2), %ymm0"
.endr
trial "vpsrlq $59, %ymm2, %ymm2; vgatherqps %xmm1, (%rsi, %ymm2), %xmm0"
trial "vpsrld $27, %xmm2, %xmm2; vgatherdpd %ymm1, (%rsi, %xmm2), %ymm0"
.irp name, vmovaps, vmovshdup, vmovsldup, vmovddup, vtestps, vtestpd, vptest, vpabsb, vpabsw, vpabsd
    both_of_one "\name"
.endr
.irp name, vmovmskps, vmovmskpd, vpmovmskb
    trial "\name %ymm1, %eax"
.endr
.irp name, vmovss, vmovsd, vmovhlps, vmovlhps
    trial "\name %xmm1, %xmm2, %xmm0"
.endr
trial "vzeroupper"
trial "vzeroall"
trial "addps %xmm1, %xmm0"

# Integers.
.irp name, vpaddb, vpaddw, vpaddd, vpaddq, vpsubb, vpsubw, vpsubd, vpsubq, vpaddsb, vpaddsw, vpaddusb, vpaddusw, vpsubsb, vpsubsw, vpsubusb, vpsubusw, vpand, vpandn, vpor, vpxor, vpcmpeqb, vpcmpeqw, vpcmpeqd, vpcmpeqq, vpcmpgtb, vpcmpgtw, vpcmpgtd, vpcmpgtq, vpmullw, vpmulld, vpmulhw, vpmulhuw, vpmuludq, vpmuldq, vpmaddwd, vpmaddubsw, vpmulhrsw, vpavgb, vpavgw, vpsadbw, vpmaxub, vpmaxsb, vpmaxsw, vpmaxuw, vpmaxsd, vpmaxud, vpminub, vpminsb, vpminsw, vpminuw, vpminsd, vpminud, vpacksswb, vpackssdw, vpackuswb, vpackusdw, vpunpckhbw, vpunpckhwd, vpunpckhdq, vpunpckhqdq, vpunpcklbw, vpunpcklwd, vpunpckldq, vpunpcklqdq, vpshufb, vphaddw, vphaddd, vphaddsw, vphsubw, vphsubd, vphsubsw, vpsignb, vpsignw, vpsignd, vpsllvd, vpsllvq, vpsrlvd, vpsrlvq, vpsravd
    both "\name"
.endr
.irp name, vpsllw, vpslld, vpsllq, vpsrlw, vpsrld, vpsrlq, vpsraw, vpsrad
    trial "\name %xmm1, %ymm2, %ymm0"
    trial "\name $5, %ymm2, %ymm0"
.endr
trial "vpslldq $3, %ymm2, %ymm0"
trial "vpsrldq $3, %ymm2, %ymm0"
.irp name, vpmovsxbw, vpmovsxbd, vpmovsxbq, vpmovsxwd, vpmovsxwq, vpmovsxdq, vpmovzxbw, vpmovzxbd, vpmovzxbq, vpmovzxwd, vpmovzxwq, vpmovzxdq
    trial "\name %xmm1, %ymm0"
.endr

.section .note.GNU-stack, "", @progbits
