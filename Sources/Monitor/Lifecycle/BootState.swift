package import ArchitectureX86
package import LinuxBoot

extension X86.State {
  /// A processor as a boot protocol hands it to a kernel: what the protocol names, over the power-on state.
  package init(entering entry: EntryState, from powerOn: X86.State) {
    self = powerOn
    let general = entry.registers
    registers = [UInt64](repeating: 0, count: X86.Register.allCases.count)
    for (register, value) in [
      (X86.Register.rax, general.rax), (.rbx, general.rbx), (.rcx, general.rcx),
      (.rdx, general.rdx), (.rsi, general.rsi), (.rdi, general.rdi), (.rbp, general.rbp),
      (.rsp, general.rsp),
    ] {
      registers[register.rawValue] = value
    }
    rip = entry.instructionPointer
    rflags = entry.flags
    segments = X86.SegmentRegister.allCases.map {
      X86.Segment($0 == .cs ? entry.code : entry.data)
    }
    tr = X86.Segment(entry.task)
    gdtr = X86.Table(base: entry.descriptorTable.base, limit: entry.descriptorTable.limit)
    idtr = X86.Table(base: entry.interruptTable.base, limit: entry.interruptTable.limit)
    cr0 = entry.cr0
    cr3 = entry.cr3
    cr4 = entry.cr4
    efer = entry.efer
    activity = .active
    apic = nil  // as firmware leaves it
  }
}

extension X86.Segment {
  fileprivate init(_ segment: EntryState.Segment) {
    self.init(
      selector: segment.selector, base: segment.base, limit: segment.limit,
      attributes: UInt32(segment.attributes))
  }
}
