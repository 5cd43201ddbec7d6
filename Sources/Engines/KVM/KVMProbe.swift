import ArchitectureX86
import CKVM
import Execution
import Glibc
import HostOS

/// Finds out whether a KVM runs a guest's kernel at the host's own speed.
///
/// Under some clouds and sandboxes there is a `/dev/kvm` without hardware virtualization behind it: it runs a
/// guest's user mode natively and emulates its kernel mode, some thousand times slower, and no capability says
/// so. So the probe lets a processor count in kernel mode and looks at the clock.
package struct KVMProbe: Sendable, Equatable {
  package enum Verdict: Sendable, Equatable {
    case native
    case emulated
    /// It does not run at all; how it stopped.
    case broken(String)
  }

  package let verdict: Verdict
  /// Of a guest's kernel; 0 if it does not run.
  package let instructionsPerSecond: Double
  /// How its guests count; `nil` if KVM does not say.
  package let counter: KVMCounter?
  /// Nanoseconds that the probe took.
  package let time: UInt64

  package init(
    verdict: Verdict, instructionsPerSecond: Double, counter: KVMCounter?, time: UInt64
  ) {
    self.verdict = verdict
    self.instructionsPerSecond = instructionsPerSecond
    self.counter = counter
    self.time = time
  }

  /// The least that counts as native: no emulator comes near it, no hardware of this century stays below.
  package static let nativeSpeed: Double = 100_000_000
}

extension KVMProbe {
  /// Probes a KVM. Takes a few milliseconds, and leaves nothing behind.
  package init(_ host: KVMHost) {
    let start = HostClock.now
    var counter: KVMCounter?
    var speed: Double = 0
    do {
      let guest = try CountingGuest(host)
      counter = guest.counter
      speed = try guest.measure()
      verdict = speed >= Self.nativeSpeed ? .native : .emulated
    } catch {
      verdict = .broken(error.description)
    }
    instructionsPerSecond = speed
    self.counter = counter
    time = HostClock.now.nanoseconds - start.nanoseconds
  }
}

/// How the time-stamp counters of KVM's processors count.
package struct KVMCounter: Sendable, Equatable {
  /// Ticks in a second.
  package let frequency: UInt64
  /// Whether guests see the host's counter itself, whatever is set: so it is where kernel mode is emulated.
  package let isHosts: Bool

  package init(frequency: UInt64, isHosts: Bool = false) {
    self.frequency = frequency
    self.isHosts = isHosts
  }

  /// What the host's counter shows now.
  package static var host: UInt64 { kvm_host_tsc() }
}

extension KVMHost {
  /// How new processors count; `nil` if KVM does not say.
  package var counter: KVMCounter? { (try? CountingGuest(self))?.counter }
}

// MARK: - The guest

/// A machine of one page and one processor, which counts down in 32-bit kernel mode and halts.
private final class CountingGuest {
  private let machine: KVMHandle
  private let processor: KVMHandle
  private let page: UnsafeMutableRawPointer
  private let run: UnsafeMutablePointer<kvm_run>
  private let runSize: Int

  private static let pageSize = 4096
  /// again: dec ecx; jnz again; hlt
  private static let program: [UInt8] = [0x49, 0x75, 0xfd, 0xf4]

  init(_ host: KVMHost) throws(EngineError) {
    machine = try host.makeMachine()
    let size = try host.handle.request(KVM_REQUEST_GET_VCPU_MMAP_SIZE, 0, "tell a processor's size")
    runSize = Int(size)
    processor = KVMHandle(
      taking: try machine.request(KVM_REQUEST_CREATE_VCPU, 0, "make a processor"))
    page = try Self.map(Self.pageSize, MAP_PRIVATE | MAP_ANONYMOUS, -1)
    do throws(EngineError) {
      run = try Self.map(runSize, MAP_SHARED, processor.number)
        .assumingMemoryBound(to: kvm_run.self)
    } catch {
      munmap(page, Self.pageSize)
      throw error
    }
    page.copyMemory(from: Self.program, byteCount: Self.program.count)
    var region = kvm_userspace_memory_region(
      slot: 0, flags: 0, guest_phys_addr: 0, memory_size: UInt64(Self.pageSize),
      userspace_addr: UInt64(UInt(bitPattern: page)))
    try machine.request(KVM_REQUEST_SET_USER_MEMORY_REGION, &region, "give a machine memory")
    try enterKernelMode()
  }

  deinit {
    munmap(run, runSize)
    munmap(page, Self.pageSize)
  }

  private static func map(
    _ size: Int, _ flags: Int32, _ handle: Int32
  ) throws(EngineError) -> UnsafeMutableRawPointer {
    guard let base = mmap(nil, size, PROT_READ | PROT_WRITE, flags, handle, 0), base != MAP_FAILED
    else { throw EngineError("the host has no memory: \(String(cString: strerror(errno)))") }
    return base
  }

  /// Flat segments of privilege level 0, protection on, paging off: SDM Vol. 3A §10.9.1.
  private func enterKernelMode() throws(EngineError) {
    var registers = kvm_sregs()
    try processor.request(KVM_REQUEST_GET_SREGS, &registers, "read a processor")
    let data = kvm_segment(
      base: 0, limit: 0xffff_ffff, selector: 16, type: 3, present: 1, dpl: 0, db: 1, s: 1, l: 0,
      g: 1, avl: 0, unusable: 0, padding: 0)
    registers.cs = data
    registers.cs.selector = 8
    registers.cs.type = 11
    registers.ds = data
    registers.es = data
    registers.fs = data
    registers.gs = data
    registers.ss = data
    registers.cr0 |= 1
    try processor.request(KVM_REQUEST_SET_SREGS, &registers, "set a processor")
  }

  var counter: KVMCounter? {
    let kilohertz = kvm_request(processor.number, UInt(KVM_REQUEST_GET_TSC_KHZ.rawValue), 0)
    guard kilohertz > 0, let shown = try? processor.readMSR(X86.MSR.timeStampCounter) else {
      return nil
    }
    // KVM starts the counter of a machine's first processor at zero.
    let frequency = UInt64(kilohertz) * 1000
    return KVMCounter(frequency: frequency, isHosts: KVMCounter.host &- shown < frequency)
  }
}

// MARK: - Measuring

extension CountingGuest {
  /// Instructions a second.
  ///
  /// Counts for longer and longer, until the time says something of the speed and little of what entering and
  /// leaving the guest costs. The better of two tries counts: the host may be busy.
  func measure() throws(EngineError) -> Double {
    _ = try time(of: 1)  // the first entry builds tables
    let overhead = try time(of: 1)
    var rounds: UInt64 = 250
    while true {
      let time = min(try time(of: rounds), try time(of: rounds))
      if time >= Self.telling || rounds >= Self.enough {
        let own = Double(max(time > overhead ? time - overhead : 0, 1))
        return Double(rounds * 2) * 1_000_000_000 / own
      }
      rounds *= 10
    }
  }

  /// Nanoseconds beside which an entry is short.
  private static var telling: UInt64 { 100_000 }
  /// Rounds that only hardware does in less time.
  private static var enough: UInt64 { 250_000 }

  /// Nanoseconds in which the guest counts down from `rounds`.
  private func time(of rounds: UInt64) throws(EngineError) -> UInt64 {
    var registers = kvm_regs()
    registers.rflags = 2
    registers.rcx = rounds
    try processor.request(KVM_REQUEST_SET_REGS, &registers, "set a processor")
    let start = HostClock.now
    while kvm_request(processor.number, UInt(KVM_REQUEST_RUN.rawValue), 0) == -EINTR {}
    let end = HostClock.now
    guard Int32(run.pointee.exit_reason) == KVM_EXIT_HLT else {
      throw EngineError("a guest that counts stops with exit \(run.pointee.exit_reason)")
    }
    try processor.request(KVM_REQUEST_GET_REGS, &registers, "read a processor")
    guard registers.rcx == 0 else { throw EngineError("a guest that counts has counted wrong") }
    return end.nanoseconds - start.nanoseconds
  }
}
