import ArchitectureX86
import CKVM
import InterruptControllers
import Testing
import Work

@testable import KVM

/// The forms in which a state goes to KVM and comes from it, where a KVM need not be there.
struct StateFormTests {
  @Test func `a shadow is of STI only where interrupts are on`() {
    var events = X86.PendingEvents()
    #expect(events.kvm(rflags: X86.Flags.interrupt).interrupt.shadow == 0)
    events.interruptShadow = true
    #expect(
      events.kvm(rflags: 2 | X86.Flags.interrupt).interrupt.shadow
        == UInt8(KVM_X86_SHADOW_INT_STI))
    #expect(events.kvm(rflags: 2).interrupt.shadow == UInt8(KVM_X86_SHADOW_INT_MOV_SS))
  }

  // MARK: - The APIC's timer

  private enum Mode: UInt32 { case oneShot, periodic, deadline }

  private func page(_ mode: Mode, initial: UInt32, current: UInt32) -> kvm_lapic_state {
    var page = kvm_lapic_state()
    withUnsafeMutableBytes(of: &page) { bytes in
      bytes.storeBytes(of: mode.rawValue << 17 | 0x40, toByteOffset: 0x320, as: UInt32.self)
      bytes.storeBytes(of: initial, toByteOffset: 0x380, as: UInt32.self)
      bytes.storeBytes(of: current, toByteOffset: 0x390, as: UInt32.self)
      bytes.storeBytes(of: 0b1011, toByteOffset: 0x3e0, as: UInt32.self)  // divided by 1
    }
    return page
  }

  private func currentCount(_ page: kvm_lapic_state) -> UInt32 {
    withUnsafeBytes(of: page) { $0.load(fromByteOffset: 0x390, as: UInt32.self) }
  }

  @Test func `a count goes to KVM as it came`() {
    let now = VMInstant(nanoseconds: 5000)
    for mode in [Mode.oneShot, .periodic] {
      let apic = X86.APIC(
        page(mode, initial: 1000, current: 400), base: 0, tscDeadline: 0, at: now)
      #expect(apic.timerIsCounting)
      #expect(apic.timerStart == 4400)
      #expect(currentCount(apic.page(at: now)) == 400)
      #expect(currentCount(apic.page(at: VMInstant(nanoseconds: 5100))) == 300)
      // What ran out meanwhile rings at once.
      #expect(currentCount(apic.page(at: VMInstant(nanoseconds: 5400))) == 1)
      #expect(currentCount(apic.page(at: VMInstant(nanoseconds: 9900))) == 1)
    }
  }

  @Test func `a count of zero has ended, but a periodic timer's is about to start again`() {
    let now = VMInstant(nanoseconds: 5000)
    func apic(_ mode: Mode, initial: UInt32) -> X86.APIC {
      X86.APIC(page(mode, initial: initial, current: 0), base: 0, tscDeadline: 7, at: now)
    }
    #expect(!apic(.oneShot, initial: 1000).timerIsCounting)
    #expect(!apic(.periodic, initial: 0).timerIsCounting)
    #expect(!apic(.deadline, initial: 0).timerIsCounting)
    #expect(apic(.deadline, initial: 0).tscDeadline == 7)
    #expect(apic(.oneShot, initial: 1000).tscDeadline == 0)
    let periodic = apic(.periodic, initial: 1000)
    #expect(periodic.timerIsCounting)
    #expect(periodic.timerStart == 4000)
    #expect(currentCount(periodic.page(at: now)) == 1)
  }

  @Test func `the count at leaving replaces a later one, unless an INIT came between`() {
    let leaving = VMInstant(nanoseconds: 5000)
    let countDown = X86.APIC.CountDown(
      page(.oneShot, initial: 1000, current: 400), at: leaving)
    var later = X86.APIC(
      page(.oneShot, initial: 1000, current: 0), base: 0, tscDeadline: 0, at: leaving)
    later.set(countDown)
    #expect(later.timerIsCounting)
    #expect(later.timerStart == 4400)
    var reset = X86.APIC(
      page(.oneShot, initial: 0, current: 0), base: 0, tscDeadline: 0, at: leaving)
    reset.set(countDown)
    #expect(!reset.timerIsCounting)
  }

  // MARK: - What a guest may write in KVM's APIC and not in ours

  @Test func `a state of an APIC is made legal`() {
    var apic = X86.APIC(
      kvm_lapic_state(), base: 0xfee0_0800, tscDeadline: 0, at: VMInstant(nanoseconds: 0))
    apic.registers = [UInt32](repeating: .max, count: 64)
    let legal = apic.legal(id: 3)
    #expect(legal.registers[0x02] == 3 << 24)
    #expect(legal.registers[0x32] & 1 << 12 == 0)
    for place in [0x10, 0x18, 0x20] { #expect(legal.registers[place] == 0xffff_0000) }
    #expect(legal.levelVectors == [UInt8](16...255))
    apic.base |= 1 << 10
    #expect(apic.legal(id: 3).registers[0x02] == 3)
    #expect(legal.legal(id: 3) == legal)
  }
}

/// XSAVE areas between the model and the host, which may have more components.
struct XSAVEAreaTests {
  private let all: UInt64 = 0x207

  /// An area as a host with AVX-512 has it.
  private func hostArea() -> [UInt8] {
    var area = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    area.replaceSubrange(512..<576, with: repeatElement(0, count: 64))
    area[512] = 0xe7
    area[513] = 2
    return area
  }

  @Test func `what the model has comes out, and nothing else`() {
    let host = hostArea()
    let saved = host.withUnsafeBytes { $0.savedArea(of: all) }
    #expect(saved.count == 2696)
    #expect(saved[512] == 7 && saved[513] == 2)
    #expect(saved[576..<832] == host[576..<832])
    #expect(saved[2688...] == host[2688..<2696])
    #expect(saved[832..<2688].allSatisfy { $0 == 0 })
    let small = host.withUnsafeBytes { $0.savedArea(of: 3) }
    #expect(small.count == 576 && small[512] == 3 && small[513] == 0)
  }

  @Test func `what the model has goes in, and all else stays`() {
    var host = hostArea()
    let before = host
    var saved = [UInt8](repeating: 0xaa, count: 2696)
    saved.replaceSubrange(512..<576, with: repeatElement(0, count: 64))
    saved[512] = 3
    saved[513] = 2
    host.withUnsafeMutableBytes { $0.takeArea(saved, of: all) }
    #expect(host[512] == 0xe3 && host[513] == 2)
    #expect(host[2688..<2696].allSatisfy { $0 == 0xaa })
    #expect(host[832..<2688] == before[832..<2688])
    // A shorter area has no PKRU.
    host = hostArea()
    host.withUnsafeMutableBytes { $0.takeArea(Array(saved.prefix(832)), of: all) }
    #expect(host[513] == 0)
    #expect(host[2688..<2696] == before[2688..<2696])
  }
}
