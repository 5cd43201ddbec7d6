import CProcessor

/// The escape opcodes D8 to DF, and FWAIT: SDM Vol. 2D §A.5.
extension Translator {
  mutating func x87() -> Flow {
    if i.opcode == 0x9b {
      emitAvailability(VectorAvailability.requireTaskIfMonitored)
      emit(X87Handlers.wait)
      return .sequential
    }
    emitAvailability(VectorAvailability.requireX87)
    let code = UInt64(i.opcode) << 8 | UInt64(i.modRM)
    guard i.isMemory else {
      emit(X87Handlers.register, immediate: code)
      return .sequential
    }
    let operand = X87Instruction(opcode: i.opcode, modrm: i.modRM).memoryOperand
    let isWide = i.operandLog2 > 1
    let (handlers, size): (MemoryHandlers, UInt8) =
      switch operand {
      case .undefined: (X87Handlers.load, 0)
      case .loadEnvironment: (X87Handlers.loadImage, isWide ? 28 : 14)
      case .storeEnvironment: (X87Handlers.storeImage, isWide ? 28 : 14)
      case .loadState: (X87Handlers.loadImage, isWide ? 108 : 94)
      case .storeState: (X87Handlers.storeImage, isWide ? 108 : 94)
      default: (operand.isStore ? X87Handlers.store : X87Handlers.load, operand.size)
      }
    guard size > 0 else { return undefined() }
    let defaultSegment: UInt8 = i.base == 4 || i.base == 5 ? 2 : 3
    let segment = UInt64(i.segmentOverride ?? defaultSegment)
    emit(handlers, d: isWide ? 1 : 0, immediate: segment << 16 | code, detail: size)
    return .sequential
  }
}
