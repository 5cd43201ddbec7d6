// Where the other processors start: copied to page 8 of memory, for SIPI vector 8, and run there in real
// mode; from there straight to 64-bit mode (SDM vol. 3A §9.8.5, with paging and protection switched on at once).

.intel_syntax noprefix
.section .rodata
.code16
.global startup_code, startup_code_end
.set page, 0x8000
startup_code:
  cli
  cld
  xor ax, ax
  mov ds, ax
.att_syntax
  lgdtl page + startup_gdt - startup_code
.intel_syntax noprefix
  mov eax, 0x620
  mov cr4, eax
  mov eax, offset page_map
  mov cr3, eax
  mov ecx, 0xc0000080
  mov eax, 0x901
  xor edx, edx
  wrmsr
  mov eax, 0x80010033
  mov cr0, eax
.att_syntax
  ljmpl $0x08, $started64
.intel_syntax noprefix
startup_gdt:
  .word 0x4f
  .long gdt
startup_code_end:

// Each takes the next stack: the ticket is its number, from 1.
.text
.code64
started64:
  mov eax, 0x10
  mov ds, eax
  mov es, eax
  mov ss, eax
  xor eax, eax
  mov fs, eax
  mov gs, eax
  mov edi, 1
  lock xadd [rip + startup_ticket], rdi
  mov rax, rdi
  shl rax, 14
  lea rsp, [rip + startup_stacks]
  add rsp, rax
  lidt [rip + idt_pointer]
  xor ebp, ebp
  call processor_main
1: hlt
  jmp 1b

.data
.balign 8
.global startup_ticket
startup_ticket: .quad 1

.bss
.balign 4096
startup_stacks: .skip 16 * 16384
