// Code for ring 3. It lies in pages of its own, which the guest maps a second time for user mode, so it
// refers to nothing outside.

.intel_syntax noprefix
.section .user, "ax"
.code64
.global user_interrupt, user_interrupt_reserved, user_clear_interrupts, user_halt, user_read_control
.global user_read_msr, user_read_tsc, user_input, user_load, user_store, user_jump, user_system_call
.global user_system_call_end, user_double, user_set_flags, user_step, user_step_end, user_count
.global user_compatibility

user_interrupt:
  lea rax, [rdi + 1]
  int 0x80
user_interrupt_reserved:
  int 0x82
user_clear_interrupts:
  cli
  int 0x80
user_halt:
  hlt
user_read_control:
  mov rax, cr0
  int 0x80
user_read_msr:
  mov ecx, 0xc0000080
  rdmsr
  int 0x80
user_read_tsc:
  rdtsc
  int 0x80
user_input:
  mov edx, edi
  in al, dx
  int 0x80
user_load:
  mov rax, [rdi]
  int 0x80
user_store:
  mov [rdi], rax
  int 0x80
user_jump:
  jmp rdi
user_system_call:
  xor eax, eax
  syscall
user_system_call_end:
user_double:
  mov rax, rdi
  syscall
  int 0x80
user_set_flags:
  push rdi
  popfq
  pushfq
  pop rax
  int 0x80
user_step:
  pushfq
  or dword ptr [rsp], 0x100
  popfq
  nop
user_step_end:
  int 0x80
// Counts until RDI, with interrupts on: for whoever interrupts it.
user_count:
  xor eax, eax
1: inc rax
  cmp rax, rdi
  jne 1b
  int 0x80

.code32
// What 64-bit mode reads as a REX prefix is an instruction here.
user_compatibility:
  mov eax, 41
  .byte 0x40                          // INC EAX
  int 0x80
