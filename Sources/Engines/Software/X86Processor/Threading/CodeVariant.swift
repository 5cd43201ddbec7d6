/// What decoded code depends on beside its bytes; a number names it in tables and keys.
package struct CodeVariant {
  package static let count = 12

  /// Which mode its code segment has.
  package var mode: CodeMode
  /// Whether vector and x87 instructions raise what CR0 and CR4 ask for instead of working.
  package var isVectorDisabled: Bool
  /// Whether it runs at CPL 3. The interpreter does not care; host code knows which TLB it asks.
  package var isUser: Bool

  package init(mode: CodeMode, isVectorDisabled: Bool, isUser: Bool) {
    self.mode = mode
    self.isVectorDisabled = isVectorDisabled
    self.isUser = isUser
  }

  package init(number: Int) {
    mode = CodeMode(rawValue: UInt32(number / 4)) ?? .bits64
    isVectorDisabled = number % 2 != 0
    isUser = number / 2 % 2 != 0
  }

  package var number: Int {
    Int(mode.rawValue) * 4 + (isUser ? 2 : 0) + (isVectorDisabled ? 1 : 0)
  }
}
