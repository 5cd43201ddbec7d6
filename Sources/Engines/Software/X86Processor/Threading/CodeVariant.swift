/// What decoded code depends on beside its bytes; a number names it in tables and keys.
package struct CodeVariant {
  package static let count = 16

  /// Which mode its code segment has.
  package var mode: CodeMode
  /// Whether it is 32-bit code in protected mode, and ES, CS, SS and DS each hold all of the 4 GiB from address zero on,
  /// to be read and written. The interpreter does not care; host code asks no limits then.
  package var isFlat: Bool
  /// Whether vector and x87 instructions raise what CR0 and CR4 ask for instead of working.
  package var isVectorDisabled: Bool
  /// Whether it runs at CPL 3. The interpreter does not care; host code knows which TLB it asks.
  package var isUser: Bool

  package init(mode: CodeMode, isFlat: Bool, isVectorDisabled: Bool, isUser: Bool) {
    self.mode = mode
    self.isFlat = isFlat
    self.isVectorDisabled = isVectorDisabled
    self.isUser = isUser
  }

  package init(number: Int) {
    isFlat = number / 4 == Self.flat
    mode = isFlat ? .bits32 : CodeMode(rawValue: UInt32(number / 4)) ?? .bits64
    isVectorDisabled = number % 2 != 0
    isUser = number / 2 % 2 != 0
  }

  /// Stands beside the values of `CodeMode`.
  private static let flat = 3

  package var number: Int {
    (isFlat ? Self.flat : Int(mode.rawValue)) * 4 + (isUser ? 2 : 0) + (isVectorDisabled ? 1 : 0)
  }
}
