import CProcessor

// Where the guest's registers are while host code runs. RSP of the host points to `struct x86_cpu`, below which there
// is room for a stack; so that no register is lost to it, and the guest's RSP is in R15. R10 and R11 are scratch: most
// compilers use them last, and the guest's own, and its R15, stay in memory.

/// The scratch registers. The first holds the host address of a memory operand.
let scratch = Register.r10
let scratch2 = Register.r11

/// The host's register that holds one of the guest's; `nil`: it stays in memory.
@inline(__always)
func host(_ guest: UInt8) -> Register? {
  switch guest {
  case 4: .r15
  case 10, 11, 15: nil
  default: Register(rawValue: guest)
  }
}

/// The guest's registers that are in the host's.
let pinned: [UInt8] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14]

/// A guest register's place in memory.
@inline(__always)
func slot(_ guest: UInt8) -> Address { Address(.rsp, Int(guest) * 8) }

/// Distances from `struct x86_cpu`.
enum Field {
  private static func offset(_ path: PartialKeyPath<x86_cpu>) -> Int {
    MemoryLayout<x86_cpu>.offset(of: path)!
  }

  static let pageBase = offset(\.page_base)
  static let segmentBase = offset(\.segment_base)
  /// Where ES ends for reads and for writes; behind it the other segments.
  static let segmentReadEnd = offset(\.segment_read_end) + 16
  static let segmentWriteEnd = offset(\.segment_write_end) + 16
  static let flagResult = offset(\.flag_result)
  static let flagCarry = offset(\.flag_carry)
  static let flagDelta = offset(\.flag_delta)
  static let codeKey = offset(\.code_key)
  static let codeKeyGlobal = offset(\.code_key_global)
  static let rip = offset(\.rip)
  static let attention = Int(X86_ATTENTION)
  static let mxcsr = offset(\.mxcsr)
  static let vectors = offset(\.vector)
  static let hostStack = offset(\.host_stack)
  static let ops = offset(\.ops)
  static let savedFlags = offset(\.saved_flags)
  static let isBlind = offset(\.is_blind)
  static let hasVectors = offset(\.has_vectors)
  static let hotVisits = offset(\.hot_visits)
  static let hasX87 = offset(\.has_x87)
  static let x87 = offset(\.x87)
  static let x87Image = offset(\.x87_image)
  static let held = offset(\.held)
  /// Where a comparison enters host code, and which op it was left to: zero is the run loop, and the lowest bit says
  /// whether the op's `run` was to go on.
  static let comparedEntry = held + 16
  static let comparedExit = held + 24
  static let readTag = Int(X86_TLB_DISTANCE)
  static let writeTag = readTag + 8
  static let pageHost = readTag + 16
  /// From the supervisor's TLB to the user's.
  static let userTLB = Int(X86_TLB_ENTRIES) * 32
  static let jumps = Int(X86_JUMPS_DISTANCE)
  /// From an op to what is kept of it.
  static let native = Int(X86_OP_CAPACITY) * 32

  /// In what is kept of an op, and in an op.
  static let visits = MemoryLayout<x86_native>.offset(of: \.visits)!
  static let opOffset = MemoryLayout<x86_op>.offset(of: \.offset)!

  static func at(_ distance: Int) -> Address { Address(.rsp, distance) }
}
