// A table of instructions that end in an exception: name, vector, error code, and the address that the
// exception must report (SDM vol. 3A §6.15): of the instruction for faults, of the next for traps.
// The last column is 1 where QEMU's TCG is known to depart from the manual.

.intel_syntax noprefix
.code64

.macro faults id, name, vector, error, tcg_departs=0
  .section .rodata
  name_\id: .asciz "\name"
  .section .cases, "a", @progbits
  .quad name_\id, code_\id, at_\id, \vector, \error, \tcg_departs
  .text
  code_\id:
.endm

faults divide_zero, "divide by zero", 0, 0
  xor ecx, ecx
  mov eax, 1
  xor edx, edx
at_divide_zero: div ecx
  ret
faults divide_overflow, "quotient too large", 0, 0
  mov rdx, 5
  xor eax, eax
  mov ecx, 5
at_divide_overflow: div rcx
  ret
faults divide_signed, "quotient of the most negative number and -1", 0, 0
  mov eax, 0x80000000
  cdq
  mov ecx, -1
at_divide_signed: idiv ecx
  ret
faults icebp, "INT1 traps", 1, 0, 1
  .byte 0xf1
at_icebp: ret
faults step, "single step after one instruction", 1, 0
  pushfq
  or dword ptr [rsp], 0x100
  popfq
  nop
at_step: ret
faults breakpoint, "INT3 traps", 3, 0
  int3
at_breakpoint: ret
faults software, "INT n traps", 0x81, 0
  int 0x81
at_software: ret

faults ud2, "UD2", 6, 0
at_ud2: ud2
faults push_es, "PUSH ES in 64-bit mode", 6, 0
at_push_es: .byte 0x06, 0xc3
faults daa, "DAA in 64-bit mode", 6, 0
at_daa: .byte 0x27, 0xc3
faults into, "INTO in 64-bit mode", 6, 0
at_into: .byte 0xce, 0xc3
faults aam, "AAM in 64-bit mode", 6, 0
at_aam: .byte 0xd4, 0x0a, 0xc3
faults lock_load, "LOCK before MOV", 6, 0, 1
at_lock_load: .byte 0xf0, 0x48, 0x8b, 0x07, 0xc3
faults lock_register, "LOCK before ADD to a register", 6, 0
at_lock_register: .byte 0xf0, 0x01, 0xc0, 0xc3
faults move_cs, "MOV to CS", 6, 0
at_move_cs: .byte 0x8e, 0xc8, 0xc3
faults far_register, "far jump to a register", 6, 0
at_far_register: .byte 0xff, 0xe8, 0xc3

faults not_available, "x87 instruction with CR0.TS", 7, 0
  mov rax, cr0
  or eax, 8
  mov cr0, rax
at_not_available: fld1
  ret
faults not_available_sse, "SSE instruction with CR0.TS", 7, 0
  mov rax, cr0
  or eax, 8
  mov cr0, rax
at_not_available_sse: xorps xmm0, xmm0
  ret

faults segment_not_present, "data segment not present", 11, 0x40
  mov eax, 0x40
at_segment_not_present: mov ds, eax
  ret
faults code_not_present, "code segment not present", 11, 0x48
at_code_not_present: jmp fword ptr [rip + far_not_present]
faults stack_not_present, "stack segment not present", 12, 0x40
  mov eax, 0x40
at_stack_not_present: mov ss, eax
  ret
faults canonical, "load from a non-canonical address", 13, 0
  mov rax, 0x800000000000
at_canonical: mov rax, [rax]
  ret
faults canonical_store, "store to a non-canonical address", 13, 0
  mov rax, 0xffff7fffffffffff
at_canonical_store: mov [rax], al
  ret
faults selector_limit, "selector beyond the limit", 13, 0x1000
  mov eax, 0x1003
at_selector_limit: mov ds, eax
  ret
faults stack_privilege, "stack segment of ring 3", 13, 0x20
  mov eax, 0x20
at_stack_privilege: mov ss, eax
  ret
faults far_null, "far jump to the null selector", 13, 0
at_far_null: jmp fword ptr [rip + far_null_pointer]
faults far_data, "far jump to a data segment", 13, 0x10
at_far_data: jmp fword ptr [rip + far_data_pointer]
faults iret_null, "IRET to the null selector", 13, 0
  mov rax, rsp
  push 0x10
  push rax
  push 2
  push 0
  push 0
at_iret_null: iretq
faults too_long, "instruction of 16 bytes", 13, 0
at_too_long:
  .fill 15, 1, 0x66
  nop
  ret
faults exchange16, "CMPXCHG16B off its alignment", 13, 0
  lea rdi, [rip + far_null_pointer + 8]
  or rdi, 1
at_exchange16: lock cmpxchg16b [rdi]
  ret

faults x87, "unmasked x87 divide by zero, at the next waiting instruction", 16, 0
  fninit
  push 0x37b
  fldcw [rsp]
  pop rax
  fld1
  fldz
  fdivp
at_x87: fwait
  ret

.section .rodata
.balign 16
far_not_present: .long 0
                 .word 0x48
.balign 16
far_null_pointer: .long 0
                  .word 0
.balign 16
                  .quad 0, 0
far_data_pointer: .long 0
                  .word 0x10

// INT3 with a stack that cannot take the frame: the page fault cannot be delivered either, so that
// it becomes a double fault.
.text
.global interrupt_on_bad_stack
interrupt_on_bad_stack:
  mov rsp, rdi
  int3
  ret
