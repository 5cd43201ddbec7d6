import ArchitectureX86
import CProcessor

// How the x87 instructions of `X87State` reach memory and registers of the processor: SDM Vol. 1 chapter 8.
// `op.immediate` holds opcode and ModRM, `op.detail` what the operand in memory is.

enum X87Handlers {
  /// Between registers.
  static let register: Handler = { cpu, op in
    guard executeX87(cpu, op) else { return }
    return next(cpu, op)
  }
  /// A memory operand is read.
  static let load = MemoryHandlers(
    { loadX87(Flat.self, $0, $1) }, { loadX87(Based.self, $0, $1) },
    { loadX87(Segmented.self, $0, $1) })
  /// A memory operand is written.
  static let store = MemoryHandlers(
    { storeX87(Flat.self, $0, $1) }, { storeX87(Based.self, $0, $1) },
    { storeX87(Segmented.self, $0, $1) })
  /// FLDENV, FRSTOR.
  static let loadImage = MemoryHandlers(
    { loadX87Image(Flat.self, $0, $1) }, { loadX87Image(Based.self, $0, $1) },
    { loadX87Image(Segmented.self, $0, $1) })
  /// FNSTENV, FNSAVE.
  static let storeImage = MemoryHandlers(
    { storeX87Image(Flat.self, $0, $1) }, { storeX87Image(Based.self, $0, $1) },
    { storeX87Image(Segmented.self, $0, $1) })
  /// FWAIT.
  static let wait: Handler = { cpu, op in
    guard reportPendingException(cpu, op) else { return }
    return next(cpu, op)
  }
}

// MARK: - What an instruction is told

extension UnsafeMutablePointer<x86_cpu> {
  private func x87Instruction(_ op: Op) -> X87Instruction {
    let code = op.pointee.immediate
    var instruction = X87Instruction(
      opcode: UInt8(truncatingIfNeeded: code &>> 8), modrm: UInt8(truncatingIfNeeded: code))
    instruction.address = X87Pointer(
      offset: rip(of: op) &- segmentBase(X86.SegmentRegister.cs.rawValue),
      selector: selector(X86.SegmentRegister.cs.rawValue))
    return instruction
  }

  /// An instruction with its memory operand, whose offset is masked to the address size.
  fileprivate func x87MemoryInstruction(_ op: Op) -> X87Instruction {
    var instruction = x87Instruction(op)
    let segment = Int(op.pointee.immediate &>> 16)
    instruction.data = X87Pointer(
      offset: offset(op) & addressMask(op.pointee.flags), selector: selector(segment))
    return instruction
  }

  fileprivate func x87RegisterInstruction(_ op: Op) -> X87Instruction {
    var instruction = x87Instruction(op)
    // FCMOVcc alone looks at flags.
    if instruction.opcode & 0xfe == 0xda { instruction.flags = statusFlags }
    return instruction
  }
}

// MARK: - Execution

@inline(never)
private func executeX87(_ cpu: CPU, _ op: Op) -> Bool {
  settle(execute(cpu.x87RegisterInstruction(op), X87Bytes(), cpu), cpu, op)
}

/// Executes an instruction, with the error summary out of sight where it is not reported by #MF.
@inline(__always)
private func execute(_ instruction: X87Instruction, _ operand: X87Bytes, _ cpu: CPU) -> X87Outcome {
  if _slowPath(cpu.x87.pointee.pendingException), instruction.waits,
    cpu.pointee.cr0 & X86.CR0.numericError == 0
  {
    cpu.x87.pointee.status.set(X87Status.summary, to: false)
    defer { cpu.x87.pointee.summarize() }
    return cpu.x87.pointee.execute(instruction, operand: operand)
  }
  return cpu.x87.pointee.execute(instruction, operand: operand)
}

/// Carries out what an instruction asks of the processor; `false` once an exception was raised.
private func settle(_ outcome: X87Outcome, _ cpu: CPU, _ op: Op) -> Bool {
  switch outcome.effect {
  case .none, .store: return true
  case .accumulator:
    cpu.set(Slot.rax, UInt16(truncatingIfNeeded: outcome.bytes.low))
    return true
  case .flags:
    cpu.statusFlags = outcome.bytes.low
    return true
  case .mathFault:
    raise(cpu, op, X86.Exception.x87)
    return false
  case .undefinedOpcode:
    raise(cpu, op, X86.Exception.invalidOpcode)
    return false
  }
}

@inline(__always)
private func operandSize(_ op: Op) -> Int { Int(op.pointee.detail) }

@inline(__always)
private func loadX87<A: Addressing>(_: A.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, operandSize(op), write: false), loadX87(cpu, op, address)
  else { return }
  return next(cpu, op)
}

@inline(never)
private func loadX87(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  var operand = X87Bytes()
  switch operandSize(op) {
  case 2:
    guard let value = load(cpu, op, address, UInt16.self) else { return false }
    operand.low = UInt64(value)
  case 4:
    guard let value = load(cpu, op, address, UInt32.self) else { return false }
    operand.low = UInt64(value)
  case 8:
    guard let value = load(cpu, op, address, UInt64.self) else { return false }
    operand.low = value
  default:
    let upper = (address &+ 8) & cpu.pointee.address_mask
    guard let low = load(cpu, op, address, UInt64.self),
      let high = load(cpu, op, upper, UInt16.self)
    else { return false }
    operand = X87Bytes(low, high)
  }
  return settle(execute(cpu.x87MemoryInstruction(op), operand, cpu), cpu, op)
}

@inline(__always)
private func storeX87<A: Addressing>(_: A.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, operandSize(op), write: true), storeX87(cpu, op, address)
  else { return }
  return next(cpu, op)
}

@inline(never)
private func storeX87(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  let size = operandSize(op)
  let entry = tlbEntry(cpu, address)
  guard
    entry.pointee.write_tag == (address &+ UInt64(size &- 1)) & ~pageMask
      || permitsAlignment(cpu, op, address, min(size, 8)) && isWritable(cpu, op, address, size)
  else { return false }
  let outcome = execute(cpu.x87MemoryInstruction(op), X87Bytes(), cpu)
  guard outcome.effect == .store else { return settle(outcome, cpu, op) }
  var bytes = (outcome.bytes.low, outcome.bytes.high)
  return withUnsafeBytes(of: &bytes) {
    guard let start = $0.baseAddress else { return false }
    return storeBlock(cpu, op, address, from: start, size)
  }
}

// MARK: - Environments and states

private typealias ImageBytes = InlineArray<112, UInt8>

/// Which shape the image has, by mode and operand size.
private func imageFormat(_ cpu: CPU, _ op: Op) -> X87EnvironmentFormat {
  let isWide = op.pointee.destination != 0
  if cpu.usesParagraphs { return isWide ? .real32 : .real16 }
  return isWide ? .protected32 : .protected16
}

@inline(__always)
private func loadX87Image<A: Addressing>(_: A.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, operandSize(op), write: false),
    loadX87Image(cpu, op, address)
  else { return }
  return next(cpu, op)
}

@inline(never)
private func loadX87Image(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  guard reportPendingException(cpu, op), permitsAlignment(cpu, op, address, imageAlignment(op))
  else { return false }
  let format = imageFormat(cpu, op)
  var image = ImageBytes(repeating: 0)
  return withUnsafeMutableBytes(of: &image) {
    guard let bytes = $0.baseAddress, loadBlock(cpu, op, address, into: bytes, operandSize(op))
    else { return false }
    if operandSize(op) == format.size {
      cpu.x87.pointee.loadEnvironment(from: bytes, format)
    } else {
      cpu.x87.pointee.loadState(from: bytes, format)
    }
    return true
  }
}

@inline(__always)
private func storeX87Image<A: Addressing>(_: A.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, operandSize(op), write: true),
    storeX87Image(cpu, op, address)
  else { return }
  return next(cpu, op)
}

/// By the operand size.
private func imageAlignment(_ op: Op) -> Int { op.pointee.destination != 0 ? 4 : 2 }

@inline(never)
private func storeX87Image(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  guard permitsAlignment(cpu, op, address, imageAlignment(op)) else { return false }
  let format = imageFormat(cpu, op)
  var image = ImageBytes(repeating: 0)
  return withUnsafeMutableBytes(of: &image) {
    guard let bytes = $0.baseAddress else { return false }
    var state = cpu.x87.pointee
    if operandSize(op) == format.size {
      state.storeEnvironment(to: bytes, format)
    } else {
      state.storeState(to: bytes, format)
    }
    // The processor's state changes only once the image is stored.
    guard storeBlock(cpu, op, address, from: bytes, operandSize(op)) else { return false }
    cpu.x87.pointee = state
    return true
  }
}
