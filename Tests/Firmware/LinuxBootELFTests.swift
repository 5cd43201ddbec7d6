import LinuxBoot
import Testing

/// vmlinux, and other kernels in ELF files.
struct LinuxBootELFTests {
  @Test func `a vmlinux with a PVH note is entered there`() throws {
    var request = BootRequest.on(Images.elf64(pvh: 0x100_0040))
    request.commandLine = "root=/dev/vda"
    request.initrd = [1, 2, 3]
    request.modules = [.init([4, 5], commandLine: "second")]
    request.rsdp = 0xF_5000
    let plan = try BootPlan(request)
    let entry = try #require(plan.entry)
    #expect(entry.mode == .protected32)
    #expect(entry.instructionPointer == 0x100_0040)
    #expect(entry.cr0 == 0x11)
    #expect(entry.task.limit == 0x67)
    let info = try #require(plan.memory(at: entry.registers.rbx, count: 56))
    #expect(info.get(4, at: 0) == 0x336E_C578)
    #expect(info.get(4, at: 4) == 1)
    #expect(info.get(4, at: 12) == 2)
    #expect(plan.text(at: info.get(8, at: 24)) == "root=/dev/vda")
    #expect(info.get(8, at: 32) == 0xF_5000)
    #expect(info.get(4, at: 48) == 4)
    let map = try #require(plan.memory(at: info.get(8, at: 40), count: 96))
    #expect(map.get(8, at: 72) == 0x10_0000)
    #expect(map.get(4, at: 88) == 1)
    let modules = try #require(plan.memory(at: info.get(8, at: 16), count: 64))
    #expect(plan.memory(at: modules.get(8, at: 0), count: 3)?.all == [1, 2, 3])
    #expect(plan.memory(at: modules.get(8, at: 32), count: 2)?.all == [4, 5])
    #expect(modules.get(8, at: 40) == 2)
    #expect(plan.text(at: modules.get(8, at: 48)) == "second")
  }

  @Test func `a vmlinux without a note is entered in 64-bit mode with boot parameters`() throws {
    var request = BootRequest.on(Images.elf64())
    request.commandLine = "earlyprintk"
    let plan = try BootPlan(request)
    let entry = try #require(plan.entry)
    #expect(entry.mode == .long64)
    #expect(entry.instructionPointer == 0x100_0100)
    let page = try #require(plan.memory(at: entry.registers.rsi, count: 4096))
    #expect(page.get(2, at: 0x1FE) == 0xAA55)
    #expect(page.get(4, at: 0x202) == 0x5372_6448)
    #expect(plan.text(at: page.get(4, at: 0x228)) == "earlyprintk")
  }

  @Test func `segments go to their physical addresses, zeroes after them`() throws {
    let file = Images.elf64()
    let segment = try #require(try BootPlan(.on(file)).segment("kernel's segment"))
    #expect(segment.address == 0x100_0000)
    #expect(segment.bytes.elementsEqual(file[0x1000...]))
    #expect(segment.zeroFill == 0x1000)
  }

  @Test func `an entry point given as a virtual address is translated`() throws {
    let file = Images.elf64 { $0.put(0xFFFF_FFFF_8100_0123 as UInt64, at: 0x18) }
    #expect(try BootPlan(.on(file)).entry?.instructionPointer == 0x100_0123)
  }

  @Test(arguments: [
    ("another machine", 0x12, 183, "AArch64"), ("the other byte order", 0x05, 2, "big-endian"),
    ("an object file", 0x10, 1, "never linked"), ("no segments", 0x38, 0, "without a segment"),
    ("too many segments", 0x38, 200, "200 program headers"),
    ("odd program headers", 0x36, 57, "57 bytes"), ("an odd class", 0x04, 9, "class 9"),
    ("an entry elsewhere", 0x18, 0x7000_0000, "none of its segments"),
    ("a segment beyond the file", 72, 0x100_0000, "cut short"),
    ("more in the file than in memory", 96, 0x10_0000, "in the file for"),
    ("a segment outside RAM", 88, 0x4000_0000, "--memory 1025M"),
    ("a segment of absurd size", 104, -1, "past the end"),
  ])
  func `an ELF file is refused for`(what: String, offset: Int, value: Int, words: String) {
    let width = offset < 0x18 ? 1 : offset < 0x40 && offset != 0x18 ? 2 : 8
    let file = Images.elf64 { $0.put(value, width, at: offset) }
    let error = refusal { _ = try BootPlan(.on(file)) }
    #expect(error?.description.contains(words) == true, "\(String(describing: error))")
  }

  @Test func `overlapping segments are refused`() {
    let file = Images.elf64 {
      $0.put(2, 2, at: 0x38)
      Images.programHeader64(
        &$0, at: 120, type: 1, offset: 0x1000, virtual: 0, physical: 0x100_1000, fileSize: 16,
        memorySize: 16)
    }
    let error = refusal { _ = try BootPlan(.on(file)) }
    #expect(error?.description.contains("overlaps") == true)
  }

  @Test func `a PVH entry point outside the kernel is refused`() {
    let error = refusal { _ = try BootPlan(.on(Images.elf64(pvh: 0x10))) }
    #expect(error?.description.contains("PVH entry point 0x10") == true)
  }
}
