import CProcessor
func resetVectorState(_ cpu: CPU) {}
func enterVectorState(_ cpu: CPU) {}
func leaveVectorState(_ cpu: CPU) {}
func storeFXSAVE(_ cpu: CPU, to: UnsafeMutableRawPointer) {}
func loadFXSAVE(_ cpu: CPU, from: UnsafeRawPointer) {}
extension Translator {
  mutating func vectorTwoByte() -> Flow? { nil }
  mutating func vectorThreeByte38() -> Flow? { nil }
  mutating func vectorThreeByte3A() -> Flow? { nil }
  mutating func x87() -> Flow { emit(SystemInstructions.nothing); return .sequential }
}
