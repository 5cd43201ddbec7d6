// From the PVH entry to 64-bit mode, with the first 16 GiB of physical memory mapped one to one.
// The entry state is that of "x86/HVM direct boot ABI" (Xen, docs/misc/pvh.pandoc): 32-bit protected
// mode, flat segments, no paging, EBX = physical address of the start info.

.intel_syntax noprefix

.section .note.Xen, "a", @note
  .long 4, 8, 18                      // XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .quad pvh_entry

.section .boot, "ax"
.code32
.global pvh_entry
pvh_entry:
  cli
  cld
  mov esp, offset boot_stack_end
  mov esi, ebx

  // A page map level 4 with one entry, a directory pointer table with 16, and 16 directories of 2 MiB pages.
  mov dword ptr [page_map], offset directory_pointers + 7
  mov edi, offset directory_pointers
  mov eax, offset directories + 7
  mov ecx, 16
1: mov [edi], eax
  add edi, 8
  add eax, 4096
  loop 1b
  mov edi, offset directories
  xor ecx, ecx
2: mov eax, ecx
  shl eax, 21
  or eax, 0x83                        // present, writable, page size
  mov [edi], eax
  mov eax, ecx
  shr eax, 11
  mov [edi + 4], eax
  add edi, 8
  inc ecx
  cmp ecx, 16 * 512
  jb 2b

  lgdt [gdt_pointer]
  mov eax, 0x620                      // PAE, OSFXSR, OSXMMEXCPT
  mov cr4, eax
  mov eax, offset page_map
  mov cr3, eax
  mov ecx, 0xc0000080                 // EFER: SCE, LME, NXE
  mov eax, 0x901
  xor edx, edx
  wrmsr
  mov eax, 0x80010033                 // PG, WP, NE, ET, MP, PE
  mov cr0, eax
  ljmp 0x08, offset start64

.code64
start64:
  mov eax, 0x10
  mov ds, eax
  mov es, eax
  mov ss, eax
  xor eax, eax
  mov fs, eax
  mov gs, eax
  lea rsp, [rip + boot_stack_end]
  xor ebp, ebp
  mov edi, esi
  call kernel_main
3: hlt
  jmp 3b

// The descriptors, in the order that SYSCALL and SYSRET want (SDM vol. 3A §5.8.8).
.data
.balign 16
.global gdt, gdt_pointer
gdt:
  .quad 0
  .quad 0x00af9b000000ffff            // 08: code, 64-bit
  .quad 0x00cf93000000ffff            // 10: data
  .quad 0x00cffb000000ffff            // 18: user code, 32-bit
  .quad 0x00cff3000000ffff            // 20: user data
  .quad 0x00affb000000ffff            // 28: user code, 64-bit
  .quad 0, 0                          // 30: TSS
  .quad 0x00cf13000000ffff            // 40: data, not present
  .quad 0x00af1b000000ffff            // 48: code, 64-bit, not present
gdt_pointer:
  .word gdt_pointer - gdt - 1
  .quad gdt

.bss
.balign 4096
.global page_map, boot_stack_end
page_map:           .skip 4096
directory_pointers: .skip 4096
directories:        .skip 16 * 4096
boot_stack:         .skip 64 * 1024
boot_stack_end:
