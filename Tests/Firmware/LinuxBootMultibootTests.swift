import LinuxBoot
import Testing

/// Multiboot Specification 0.6.96 §3.
struct LinuxBootMultibootTests {
  @Test func `an ELF kernel is entered with the information structure in EBX`() throws {
    var request = BootRequest.on(Images.multibootELF())
    request.commandLine = "kernel one"
    request.modules = [.init([9, 9, 9], commandLine: "first"), .init([8], commandLine: "second")]
    let plan = try BootPlan(request)
    let entry = try #require(plan.entry)
    #expect(entry.mode == .protected32)
    #expect(entry.registers.rax == 0x2BAD_B002)
    #expect(entry.instructionPointer == 0x10_0010)
    let info = try #require(plan.memory(at: entry.registers.rbx, count: 116))
    #expect(info.get(4, at: 0) == 0b10_0100_1101)
    #expect(info.get(4, at: 4) == 639)
    #expect(info.get(4, at: 8) == 127 << 10)
    #expect(plan.text(at: info.get(4, at: 16)) == "kernel one")
    #expect(plan.text(at: info.get(4, at: 64)) == "Roost")
    #expect(info.get(4, at: 20) == 2)
    let modules = try #require(plan.memory(at: info.get(4, at: 24), count: 32))
    #expect(modules.get(4, at: 0) % 4096 == 0)
    #expect(modules.get(4, at: 4) - modules.get(4, at: 0) == 3)
    #expect(plan.memory(at: modules.get(4, at: 16), count: 1)?.all == [8])
    #expect(plan.text(at: modules.get(4, at: 24)) == "second")
    #expect(info.get(4, at: 44) == 96)
    let map = try #require(plan.memory(at: info.get(4, at: 48), count: 96))
    #expect(map.get(4, at: 72) == 20)
    #expect(map.get(8, at: 76) == 0x10_0000)
  }

  @Test func `a flat kernel goes where its header says`() throws {
    let file = Images.multibootFlat()
    let plan = try BootPlan(.on(file))
    let kernel = try #require(plan.segment("kernel"))
    #expect(kernel.address == 0x20_0000)
    #expect(kernel.bytes.elementsEqual(file))
    #expect(kernel.zeroFill == 0x5000)
    #expect(plan.entry?.instructionPointer == 0x20_0100)
  }

  @Test func `part of a file can be loaded`() throws {
    let file = Images.multibootFlat(
      addresses: [0x20_0010, 0x20_0000, 0x20_0200, 0, 0x20_0000])
    let kernel = try #require(try BootPlan(.on(file)).segment("kernel"))
    #expect(kernel.bytes.elementsEqual(file[0x30..<0x230]))
    #expect(kernel.zeroFill == 0)
  }

  @Test(arguments: [
    [0x20_0000, 0x20_0040, 0, 0, 0x20_0040], [0x20_0080, 0x20_0000, 0, 0, 0x20_0000],
    [0x20_0040, 0x20_0000, 0x1F_0000, 0, 0x20_0000], [0x20_0040, 0x20_0000, 0, 0, 0x10],
    [0x20_0040, 0x20_0000, 0x30_0000, 0, 0x20_0000],
  ])
  func `a flat kernel with impossible addresses is refused`(addresses: [Int]) {
    let error = refusal { _ = try BootPlan(.on(Images.multibootFlat(addresses: addresses))) }
    #expect(error?.kind == .damaged, "\(String(describing: error))")
  }

  @Test(arguments: [4, 8, 0x8003] as [UInt32])
  func `demands that are not met are refused`(flags: UInt32) {
    let error = refusal { _ = try BootPlan(.on(Images.multibootELF(flags: flags))) }
    #expect(error?.kind == .unsupported)
  }
}
