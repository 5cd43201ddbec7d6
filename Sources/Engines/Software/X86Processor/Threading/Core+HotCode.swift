package import ArchitectureX86
package import CProcessor
import Memory

// The way from the interpreter to a translator, which makes host code of code that runs often.

/// Where a core's hot code lies: a page of memory, and the ops decoded from it.
package struct HotPage {
  /// The page's number in the guest's memory.
  package let page: Int
  package let variant: CodeVariant
  /// The page's bytes.
  package let bytes: UnsafeRawPointer
  private let code: CodeCache

  fileprivate init(page: Int, variant: CodeVariant, bytes: UnsafeRawPointer, code: CodeCache) {
    self.page = page
    self.variant = variant
    self.bytes = bytes
    self.code = code
  }

  /// The first op of the instruction at an offset in the page; `nil` where none was decoded.
  package func op(at offset: Int) -> UnsafePointer<x86_op>? {
    code.find(page: page, variant: variant.number, offset: offset)
  }
}

/// Makes host code of a core's hot code. Used on the core's thread only, while no host code runs.
package protocol CodeTranslator: AnyObject {
  /// Host code that leaves to an op which has none; set into `x86_native.entry` of such ops.
  var leaving: UInt64 { get }
  /// The code at an offset is jumped to often.
  ///
  /// - Returns: `false` where there is no room left: all host code, and all ops, are to be dropped.
  func translate(_ page: HotPage, from offset: Int) -> Bool
  /// The page's ops lead nowhere from now on.
  func forget(page: Int)
  /// No op is left.
  func forgetAll()
}

extension Core {
  /// Has hot code translated by `translator` from now on. Before the core runs.
  ///
  /// - Parameter visits: after how many jumps to it code is hot. Two thirds to four fifths of all code that runs never
  ///   are jumped to so often.
  package func use(_ translator: any CodeTranslator, after visits: UInt32 = 48) {
    cpu.pointee.hot_visits = visits
    self.translator = translator
    code.translator = translator
  }

  /// What the guest's processor announces.
  package var features: X86.Features { model.features }

  /// `op`, to which a jump of the page that runs now leads, is hot.
  func translateHot(_ op: Op) {
    guard let translator else { return }
    let rip = cpu.rip(of: op)
    let (kept, faultAddress) = (cpu.pointee.rip, cpu.pointee.cr2)
    defer { (cpu.pointee.rip, cpu.pointee.cr2) = (kept, faultAddress) }
    cpu.pointee.rip = rip
    guard let bound = codeBound(), bound == nil, let place = codePlace(rip), let page = place.page
    else {
      cpu.pointee.exit = LeaveReason.lookUp
      return
    }
    let variant = codeVariant
    let offset = Int(rip & pageMask)
    guard code.find(page: page, variant: variant, offset: offset) == op,
      let host = memory.hostPage(holding: GPA(place.physical))
    else { return }
    let isDone = asHost {
      translator.translate(
        HotPage(
          page: page, variant: CodeVariant(number: variant), bytes: UnsafeRawPointer(host.base),
          code: code), from: offset)
    }
    if !isDone {
      needsCacheReset = true
      x86_attention_set(cpu, Attention.housekeeping)
    }
  }
}

/// Whether an op stands for an instruction that is undefined in the guest's processor.
package func isUndefined(_ op: UnsafePointer<x86_op>) -> Bool {
  unsafeBitCast(op.pointee.run, to: UInt.self) == unsafeBitCast(raiseInvalidOpcode, to: UInt.self)
}
