import LinuxBoot
import Testing

/// Linux Documentation/arch/x86/boot.rst and zero-page.rst.
struct LinuxBootBzImageTests {
  @Test func `a bzImage is loaded where it prefers and entered in 64-bit mode`() throws {
    let file = Images.bzImage()
    let plan = try BootPlan(.on(file))
    #expect(plan.description.contains("Linux 6.1.0-test bzImage, boot protocol 2.15, 64-bit"))
    let kernel = try #require(plan.segment("kernel"))
    #expect(kernel.address == 0x100_0000)
    #expect(kernel.bytes.elementsEqual(file[0x400...]))
    let entry = try #require(plan.entry)
    #expect(entry.mode == .long64)
    #expect(entry.instructionPointer == 0x100_0200)
    #expect(entry.efer == 0x500)
    #expect(entry.cr0 == 0x8000_0011)
    #expect(entry.cr4 == 0x20)
    #expect(entry.flags == 2)
  }

  @Test func `the boot parameters hold the header and what the machine is like`() throws {
    var request = BootRequest.on(Images.bzImage())
    request.commandLine = "console=ttyS0 quiet"
    request.initrd = Array(repeating: 0x5A, count: 10_000)
    request.rsdp = 0xE_0000
    let plan = try BootPlan(request)
    let entry = try #require(plan.entry)
    let page = try #require(plan.memory(at: entry.registers.rsi, count: 4096))
    #expect(page.get(4, at: 0x202) == 0x5372_6448)
    #expect(page.get(1, at: 0x210) == 0xFF)  // type_of_loader
    #expect(page.get(4, at: 0x214) == 0x100_0000)  // code32_start
    #expect(page.get(8, at: 0x70) == 0xE_0000)  // acpi_rsdp_addr
    #expect(page.get(1, at: 0x1EF) == 0)  // sentinel
    #expect(plan.text(at: page.get(4, at: 0x228)) == "console=ttyS0 quiet")
    let initrd = page.get(4, at: 0x218)
    #expect(page.get(4, at: 0x21C) == 10_000)
    #expect(initrd == 0x7FF_D000, "at the top of 128 MiB, on a page")
    #expect(plan.segment("initrd")?.address == initrd)
    #expect(page.get(1, at: 0x1E8) == 4)  // e820_entries
    #expect(page.get(8, at: 0x2D0 + 60) == 0x10_0000)
    #expect(page.get(8, at: 0x2D0 + 68) == 127 << 20)
    #expect(page.get(4, at: 0x2D0 + 76) == 1)
  }

  @Test func `the 64-bit entry finds an identity map and flat segments`() throws {
    let plan = try BootPlan(.on(Images.bzImage()))
    let entry = try #require(plan.entry)
    #expect(translate(0x100_0200, entry.cr3, plan) == 0x100_0200)
    #expect(translate(0xFFFF_FFFF, entry.cr3, plan) == 0xFFFF_FFFF)
    #expect(translate(0x1_0000_0000, entry.cr3, plan) == nil)
    let table = try #require(
      plan.memory(at: entry.descriptorTable.base, count: UInt64(entry.descriptorTable.limit) + 1))
    #expect(entry.code.selector == 0x10)
    #expect(entry.data.selector == 0x18)
    #expect(table.get(8, at: 0x10) == 0x00AF_9B00_0000_FFFF)
    #expect(table.get(8, at: 0x18) == 0x00CF_9300_0000_FFFF)
    #expect(plan.memory(at: entry.registers.rsp - 4096, count: 4096) != nil)
  }

  @Test func `the 32-bit entry is taken when asked for, and when there is no other`() throws {
    var request = BootRequest.on(Images.bzImage())
    request.bootProtocol = .linux32
    let asked = try #require(try BootPlan(request).entry)
    let only = try #require(
      try BootPlan(.on(Images.bzImage { $0.put(0, 2, at: 0x236) })).entry)
    for entry in [asked, only] {
      #expect(entry.mode == .protected32)
      #expect(entry.instructionPointer == 0x100_0000)
      #expect(entry.cr0 == 0x11)
      #expect(entry.code.selector == 0x10)
      #expect(entry.code.limit == .max)
      #expect(entry.code.attributes == 0xC09B)
      #expect(entry.registers.rbx == 0)
      #expect(entry.registers.rsi != 0)
    }
  }

  @Test func `a kernel that cannot be moved is loaded at 1 MiB`() throws {
    let plan = try BootPlan(.on(Images.bzImage { $0.put(0, 1, at: 0x234) }))
    #expect(plan.segment("kernel")?.address == 0x10_0000)
  }

  @Test func `an old kernel without the newer fields is loaded at 1 MiB`() throws {
    let plan = try BootPlan(
      .on(
        Images.bzImage {
          $0.put(0x0202, 2, at: 0x206)
          $0.put(0x2A, 1, at: 0x201)
        }))
    #expect(plan.segment("kernel")?.address == 0x10_0000)
    #expect(plan.entry?.mode == .protected32)
  }

  @Test func `a signature after the code is not loaded`() throws {
    let plan = try BootPlan(.on(Images.bzImage() + Array(repeating: 1, count: 1472)))
    #expect(plan.segment("kernel")?.bytes.count == 0x2000)
  }

  @Test func `an initrd keeps below the kernel's limit, or above 4 GiB if it must and may`() throws
  {
    var request = BootRequest(
      kernel: Images.bzImage { $0.put(1, 2, at: 0x236) },
      initrd: Array(repeating: 7, count: 4096),
      memoryMap: .pc(megabytes: 3072))
    #expect(try BootPlan(request).segment("initrd")?.address == 0x7FFF_F000)
    request = BootRequest(
      kernel: Images.bzImage(), initrd: Array(repeating: 7, count: 20 << 20),
      memoryMap: .pc(megabytes: 33) + [
        MemoryRange(start: 1 << 32, size: 64 << 20, kind: .usable)
      ])
    let plan = try BootPlan(request)
    let page = try #require(plan.memory(at: plan.entry?.registers.rsi ?? 0, count: 4096))
    #expect(plan.segment("initrd")?.address == 0x1_02C0_0000)
    #expect(page.get(4, at: 0xC0) == 1)  // ext_ramdisk_image
  }

  @Test(arguments: [
    ("zImage", 0x211, 0, "zImage"), ("old protocol", 0x206, 0x01, "2.01"),
    ("setup longer than the file", 0x1F1, 0xFF, "cut short"),
    ("header that ends early", 0x201, 0x02, "setup header"),
    ("odd alignment", 0x231, 0x33, "alignment"),
  ])
  func `a bzImage is refused for`(what: String, offset: Int, value: Int, words: String) {
    let file = Images.bzImage {
      $0.put(value, 1, at: offset)
      if what == "old protocol" { $0.put(0x0201, 2, at: 0x206) }
    }
    let error = refusal { _ = try BootPlan(.on(file)) }
    #expect(error?.description.contains(words) == true, "\(String(describing: error))")
  }

  @Test func `a bzImage that was cut off is refused with both sizes`() {
    let error = refusal { _ = try BootPlan(.on(Array(Images.bzImage().dropLast(0x100)))) }
    #expect(error?.kind == .damaged)
    #expect(error?.description.contains("0x2000") == true)
    #expect(error?.description.contains("0x2300") == true)
  }

  @Test func `the last paragraph of the code need not be full`() throws {
    let plan = try BootPlan(.on(Array(Images.bzImage().dropLast(15))))
    #expect(plan.segment("kernel")?.bytes.count == 0x2000 - 15)
    #expect(refusal { _ = try BootPlan(.on(Array(Images.bzImage().dropLast(16)))) } != nil)
  }

  @Test func `too little memory is refused with the size that would do`() {
    let error = refusal { _ = try BootPlan(.on(megabytes: 16, Images.bzImage())) }
    #expect(error?.kind == .doesNotFit)
    #expect(error?.description.contains("--memory 17M") == true)
  }

  @Test func `a command line that is too long is refused with both lengths`() {
    var request = BootRequest.on(Images.bzImage())
    request.commandLine = String(repeating: "x", count: 2048)
    let error = refusal { _ = try BootPlan(request) }
    #expect(error?.kind == .badRequest)
    #expect(error?.description.contains("2047") == true)
  }

  @Test func `an empty initrd is refused`() {
    var request = BootRequest.on(Images.bzImage())
    request.initrd = []
    #expect(refusal { _ = try BootPlan(request) }?.kind == .badRequest)
  }

  @Test func `modules and protocols that a bzImage does not know are refused`() {
    var request = BootRequest.on(Images.bzImage())
    request.bootProtocol = .pvh
    #expect(refusal { _ = try BootPlan(request) }?.kind == .badRequest)
    request.bootProtocol = nil
    request.modules = [.init([1])]
    #expect(refusal { _ = try BootPlan(request) }?.kind == .badRequest)
  }

  /// Walks the plan's page tables as the processor would (Intel SDM Vol. 3A §4.5).
  private func translate(_ address: UInt64, _ root: UInt64, _ plan: BootPlan) -> UInt64? {
    var table = root
    for shift: UInt64 in [39, 30, 21] {
      guard
        let entry = plan.memory(at: table + (address >> shift & 511) * 8, count: 8)?
          .get(8, at: 0), entry & 1 == 1
      else { return nil }
      if entry & 0x80 != 0 { return (entry & ~0x1F_FFFF) | (address & 0x1F_FFFF) }
      table = entry & ~0xFFF
    }
    return nil
  }
}
