# compute(struct thread *): computes in all registers until the thread's rounds are over, and asks for others to run after every
# so many. Each number x becomes 1 - 1.8 x^2, which never comes to rest: a wrong bit soon makes all of them wrong.

.set YIELD, 24
.set UPPER, 512
.set ROUNDS, 768
.set PATIENCE, 776
.set WIDE, 784
.set FACTORS, 800
.set ONES, 832

.macro each what
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        \what \n
    .endr
.endm
.macro narrow_step n
    mulps   %xmm\n, %xmm\n
    mulps   FACTORS(%r12), %xmm\n
    addps   ONES(%r12), %xmm\n
.endm
.macro wide_step n
    vmulps  %ymm\n, %ymm\n, %ymm\n
    vmulps  FACTORS(%r12), %ymm\n, %ymm\n
    vaddps  ONES(%r12), %ymm\n, %ymm\n
.endm
.macro join n
    vinsertf128 $1, UPPER + 16 * \n(%r12), %ymm\n, %ymm\n
.endm
.macro part n
    vextractf128 $1, %ymm\n, UPPER + 16 * \n(%r12)
.endm

    .globl  compute
compute:
    push    %rbx
    push    %r12
    mov     %rdi, %r12
    mov     ROUNDS(%r12), %rbx
    fxrstor (%r12)
    cmpq    $0, WIDE(%r12)
    je      1f
    each    join
1:  fmul    %st, %st
    fmuls   FACTORS(%r12)
    fadds   ONES(%r12)
    fincstp
    cmpq    $0, WIDE(%r12)
    jne     2f
    each    narrow_step
    jmp     3f
2:  each    wide_step
3:  test    PATIENCE(%r12), %rbx
    jnz     4f
    mov     $YIELD, %eax
    syscall
4:  dec     %rbx
    jnz     1b
    fxsave  (%r12)
    cmpq    $0, WIDE(%r12)
    je      5f
    each    part
    vzeroupper
5:  fninit
    pop     %r12
    pop     %rbx
    ret

.section .note.GNU-stack, "", @progbits
