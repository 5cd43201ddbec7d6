import ArchitectureX86
import CKVM

// Registers between KVM's structures and `X86.State`.

extension X86.Segment {
  init(_ segment: kvm_segment) {
    var attributes =
      UInt32(segment.type & 0xf) | UInt32(segment.s & 1) << 4 | UInt32(segment.dpl & 3) << 5
    attributes |= UInt32(segment.present & 1) << 7 | UInt32(segment.avl & 1) << 12
    attributes |= UInt32(segment.l & 1) << 13 | UInt32(segment.db & 1) << 14
    attributes |= UInt32(segment.g & 1) << 15 | UInt32(segment.unusable & 1) << 16
    self.init(
      selector: segment.selector, base: segment.base, limit: segment.limit, attributes: attributes)
  }

  /// KVM's form. A segment that is not present cannot be used.
  var kvm: kvm_segment {
    func bits(_ position: UInt32, _ mask: UInt32 = 1) -> UInt8 {
      UInt8(truncatingIfNeeded: attributes >> position & mask)
    }
    var segment = kvm_segment()
    segment.base = base
    segment.limit = limit
    segment.selector = selector
    segment.type = bits(0, 0xf)
    segment.s = bits(4)
    segment.dpl = bits(5, 3)
    segment.present = bits(7)
    segment.avl = bits(12)
    segment.l = bits(13)
    segment.db = bits(14)
    segment.g = bits(15)
    segment.unusable = bits(7) == 0 ? 1 : bits(16)
    return segment
  }
}

extension X86.Table {
  init(_ table: kvm_dtable) { self.init(base: table.base, limit: table.limit) }

  var kvm: kvm_dtable {
    var table = kvm_dtable()
    table.base = base
    table.limit = limit
    return table
  }
}

extension kvm_regs {
  /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15: the order of `X86.Register`.
  var general: [UInt64] {
    get {
      [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15]
    }
    set {
      (rax, rcx, rdx, rbx) = (newValue[0], newValue[1], newValue[2], newValue[3])
      (rsp, rbp, rsi, rdi) = (newValue[4], newValue[5], newValue[6], newValue[7])
      (r8, r9, r10, r11) = (newValue[8], newValue[9], newValue[10], newValue[11])
      (r12, r13, r14, r15) = (newValue[12], newValue[13], newValue[14], newValue[15])
    }
  }
}

extension kvm_sregs {
  /// ES, CS, SS, DS, FS, GS: the order of `X86.SegmentRegister`.
  var segments: [X86.Segment] {
    get { [es, cs, ss, ds, fs, gs].map { X86.Segment($0) } }
    set {
      (es, cs, ss) = (newValue[0].kvm, newValue[1].kvm, newValue[2].kvm)
      (ds, fs, gs) = (newValue[3].kvm, newValue[4].kvm, newValue[5].kvm)
    }
  }
}

extension X86.InjectedEvent {
  /// What KVM has taken and not delivered; at most one of them.
  init?(_ events: kvm_vcpu_events) {
    if events.exception.injected != 0 {
      self.init(
        kind: .exception, vector: events.exception.nr,
        errorCode: events.exception.has_error_code != 0 ? events.exception.error_code : nil)
    } else if events.nmi.injected != 0 {
      self.init(kind: .nmi, vector: X86.Exception.nmi)
    } else if events.interrupt.injected != 0 {
      self.init(
        kind: events.interrupt.soft != 0 ? .software : .external, vector: events.interrupt.nr)
    } else {
      return nil
    }
  }
}

extension X86.PendingEvents {
  init(_ events: kvm_vcpu_events) {
    self.init()
    interruptShadow = events.interrupt.shadow != 0
    nmiPending = events.nmi.pending != 0
    nmiBlocked = events.nmi.masked != 0
    injected = X86.InjectedEvent(events)
  }

  /// KVM's form.
  ///
  /// - Parameter rflags: tells whose shadow it is. STI leaves interrupts on; where they are off it comes from a load of
  ///   SS, and no VM entry takes it for one of STI (SDM Vol. 3C §27.3.1.5).
  func kvm(rflags: UInt64) -> kvm_vcpu_events {
    var events = kvm_vcpu_events()
    events.flags =
      UInt32(KVM_VCPUEVENT_VALID_NMI_PENDING) | UInt32(KVM_VCPUEVENT_VALID_SHADOW)
    let shadow =
      rflags & X86.Flags.interrupt != 0 ? KVM_X86_SHADOW_INT_STI : KVM_X86_SHADOW_INT_MOV_SS
    events.interrupt.shadow = interruptShadow ? UInt8(shadow) : 0
    events.nmi.pending = nmiPending ? 1 : 0
    events.nmi.masked = nmiBlocked ? 1 : 0
    switch injected?.kind {
    case .external, .software:
      events.interrupt.injected = 1
      events.interrupt.soft = injected?.kind == .software ? 1 : 0
      events.interrupt.nr = injected?.vector ?? 0
    case .nmi: events.nmi.injected = 1
    case .exception:
      events.exception.injected = 1
      events.exception.nr = injected?.vector ?? 0
      events.exception.has_error_code = injected?.errorCode == nil ? 0 : 1
      events.exception.error_code = injected?.errorCode ?? 0
    case nil: break
    }
    return events
  }
}
