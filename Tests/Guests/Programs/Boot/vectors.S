// One stub for each of the 256 vectors: they all end in `interrupt`, with the same frame on the stack.

.intel_syntax noprefix
.text
.code64

.macro stub number
  .balign 16
  .if (\number == 8) || (\number >= 10 && \number <= 14) || (\number == 17) || (\number == 21)
  .else
    push 0                            // where the processor pushes no error code
  .endif
  push \number
  jmp interrupt_common
.endm

.balign 16
.global vector_stubs
vector_stubs:
.altmacro
.set number, 0
.rept 256
  stub %number
  .set number, number + 1
.endr

interrupt_common:
  push rax
  push rbx
  push rcx
  push rdx
  push rsi
  push rdi
  push rbp
  push r8
  push r9
  push r10
  push r11
  push r12
  push r13
  push r14
  push r15
  cld
  mov rdi, rsp
  mov rbp, rsp
  clts                                // or the next instruction would be the next exception
  sub rsp, 512                        // Swift moves bytes through XMM registers
  and rsp, -16
  fxsave64 [rsp]
  call interrupt
  fxrstor64 [rsp]
  mov rsp, rbp
  pop r15
  pop r14
  pop r13
  pop r12
  pop r11
  pop r10
  pop r9
  pop r8
  pop rbp
  pop rdi
  pop rsi
  pop rdx
  pop rcx
  pop rbx
  pop rax
  add rsp, 16
  iretq

// void attempt(code, argument): calls code(argument); an exception in it without a handler of its own
// comes back here, recorded by `interrupt`.
.global attempt, attempt_resume
attempt:
  push rbx
  push rbp
  push r12
  push r13
  push r14
  push r15
  push qword ptr [rip + attempt_stack]
  mov [rip + attempt_stack], rsp
  mov rax, rdi
  mov rdi, rsi
  call rax
attempt_resume:
  mov rsp, [rip + attempt_stack]
  pop qword ptr [rip + attempt_stack]
  pop r15
  pop r14
  pop r13
  pop r12
  pop rbp
  pop rbx
  ret

// Enters ring 3 at `rdi` with stack `rsi`, flags `rdx`, code selector `rcx`, RDI = `r8`. The way back is
// an interrupt, an exception or SYSCALL, all of which end in `attempt_resume`.
.global enter_user
enter_user:
  push 0x23
  push rsi
  push rdx
  push rcx
  push rdi
  mov rdi, r8
  xor eax, eax
  iretq

// Where SYSCALL arrives. RAX = 0: come back to the kernel, and record what the instruction left.
// Otherwise: return to ring 3 by SYSRET with RAX doubled.
.global system_call_entry
system_call_entry:
  test rax, rax
  jnz 1f
  mov rsp, [rip + attempt_stack]
  mov [rip + system_call + 0], rcx
  mov [rip + system_call + 8], r11
  pushfq
  pop qword ptr [rip + system_call + 16]
  mov eax, cs
  mov [rip + system_call + 24], rax
  mov eax, ss
  mov [rip + system_call + 32], rax
  inc qword ptr [rip + system_call + 40]
  jmp attempt_resume
1: add rax, rax
  sysretq

.bss
.balign 8
.global attempt_stack, system_call
attempt_stack: .skip 8
system_call:   .skip 48
