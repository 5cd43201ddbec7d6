import Board
import ArchitectureX86
import CProcessor
import Memory

// From an instruction pointer to threaded code.

extension Core {
  /// The op at `rip`, decoded if need be, and a jump entry for it; `nil` once an exception was raised.
  func lookUp() -> Op? {
    if cpu.pointee.code_mode == 2, !hasBreakpoints, let op = jumpCacheOp(cpu, cpu.pointee.rip),
      unsafeBitCast(op.pointee.run, to: UInt.self) != unsafeBitCast(lookUpHere, to: UInt.self)
    {
      visit(cpu, op)
      return op
    }
    if let op = lookUpKept() {
      visit(cpu, op)
      return op
    }
    return cpu.pointee.exit == LeaveReason.exception ? nil : decodeOne()
  }

  /// As `lookUp`, but `nil` also for code that is not kept decoded.
  func lookUpKept() -> Op? {
    let rip = cpu.pointee.rip
    statistics.lookUps.increment()
    guard let bound = codeBound(), let place = codePlace(rip) else { return nil }
    guard let page = place.page else { return nil }
    if _slowPath(hasBreakpoints), hasCodeBreakpoint(page: rip) { return nil }
    let variant = codeVariant
    let offset = Int(rip & pageMask)
    let op =
      code.find(page: page, variant: variant, bound: bound, offset: offset)
      ?? asHost {
        decodeRun(
          page: page, variant: variant, bound: bound, from: offset, physical: place.physical)
      }
    guard let op else { return nil }
    cpu.pointee.page_base = rip & ~pageMask
    let slot = Int(
      truncatingIfNeeded: (rip ^ rip >> 12) & UInt64(X86_JUMP_ENTRIES - 1))
    cpu.pointee.jumps[slot] = x86_jump_entry(
      rip: rip,
      key: bound != nil
        ? boundedCodeKey() : place.isGlobal ? cpu.pointee.code_key_global : cpu.pointee.code_key,
      op: op, unused: 0)
    let kept = native(op)
    if kept.pointee.entry == 0 { kept.pointee.entry = code.leaving }
    return op
  }

  struct CodePlace {
    var physical: UInt64
    /// The page's index in memory; `nil` where code lies in a device or straddles.
    var page: Int?
    var isGlobal: Bool
  }

  /// Translates an address of code; `nil` once an exception was raised.
  func codePlace(_ rip: UInt64) -> CodePlace? {
    let linear = rip & ~pageMask
    let entry = CodePageEntry.slot(codePages, rip)
    if entry.pointee.linear == linear,
      entry.pointee.key
        == (entry.pointee.isGlobal ? cpu.pointee.code_key_global : cpu.pointee.code_key)
    {
      return CodePlace(
        physical: entry.pointee.physical, page: entry.pointee.page,
        isGlobal: entry.pointee.isGlobal)
    }
    guard isCanonical(rip) else {
      raiseAtRIP(cpu, X86.Exception.generalProtection, code: 0)
      return nil
    }
    let isUser = cpu.pointee.privilege == 3
    do throws(PageFault) {
      let found = try walk(rip, PageAccess(execute: true, user: isUser))
      let physical = found.physical & ~pageMask
      guard let host = reachablePage(physical), !isAPICPage(physical) else {
        return CodePlace(physical: physical, page: nil, isGlobal: false)
      }
      if found.large { tlb.noteLargePage(linear) }
      executedPages.insert(linear)
      entry.pointee = CodePageEntry(
        linear: linear, physical: physical,
        key: found.global ? cpu.pointee.code_key_global : cpu.pointee.code_key,
        page: host.index, isGlobal: found.global)
      return CodePlace(physical: physical, page: host.index, isGlobal: found.global)
    } catch {
      cpu.pointee.cr2 = rip
      raiseAtRIP(cpu, X86.Exception.pageFault, code: error.code)
      return nil
    }
  }

  private static let longestRun = 48

  /// Decodes instructions from an offset on: to the end of the page, to one after which nothing falls
  /// through, or to one that is decoded already. `nil` if the first reaches into the next page.
  private func decodeRun(
    page: Int, variant: Int, bound: CodeBound?, from start: Int, physical: UInt64
  ) -> Op? {
    guard let host = memory.hostPage(holding: GPA(physical)) else { return nil }
    let capacity = (Self.longestRun + 2) * Translator.stepsPerInstruction
    guard let buffer = code.room(for: capacity) else {
      // Full: drop all, which is safe only once no op runs; the run loop sees to it.
      needsCacheReset = true
      x86_attention_set(cpu, Attention.housekeeping)
      return nil
    }
    let bytes = UnsafeRawBufferPointer(start: host.base, count: 4096)
    var translator = Translator(into: buffer, capacity: capacity)
    translator.vectorDisabled = isVectorDisabled
    translator.features = model.features
    translator.codeBound = bound
    let mode = CodeMode(rawValue: cpu.pointee.code_mode) ?? .bits64
    let end = (bound?.last ?? 4095) + 1
    var offset = start
    var entries = 0
    while true {
      if offset >= 4096 {
        translator.appendLink(
          mode == .bits64 ? continueSequentially : continueSegmented, at: 4096)
        break
      }
      if offset >= end {
        translator.appendLink(lookUpHere, at: offset)
        break
      }
      if offset != start,
        code.find(page: page, variant: variant, bound: bound, offset: offset) != nil
      {
        translator.appendLink(continueInPage, at: offset)
        break
      }
      if entries == Self.longestRun || !translator.hasRoom {
        translator.appendLink(continueInPage, at: offset)
        break
      }
      // Watched before they are read: a write that comes later is noticed.
      watch(page: page, physical: physical, from: offset, through: min(offset + 14, end - 1))
      let first = buffer + translator.count
      let instruction: Instruction
      do throws(DecodeError) {
        instruction = try Decoder.decode(
          UnsafeRawBufferPointer(rebasing: bytes[offset..<end]), mode: mode)
      } catch {
        if error == .truncated {
          if entries == 0 { return nil }
          translator.appendLink(lookUpHere, at: offset)
          break
        }
        translator.appendLink(raiseTooLong, at: offset)
        code.enter(page: page, variant: variant, bound: bound, offset: offset, first)
        entries += 1
        break
      }
      let flow = translator.translate(instruction, at: offset)
      code.enter(page: page, variant: variant, bound: bound, offset: offset, first)
      entries += 1
      statistics.decodedInstructions.increment()
      offset += Int(instruction.length)
      if case .ends = flow { break }
    }
    code.commit(translator.count)
    return Op(buffer)
  }

  /// Decodes one instruction alone, after which threaded code ends: for one that lies across two pages or
  /// outside memory, and for single steps. Nothing is kept but its bytes. `nil` once an exception was raised.
  func decodeOne() -> Op? {
    let rip = cpu.pointee.rip
    let mode = CodeMode(rawValue: cpu.pointee.code_mode) ?? .bits64
    let mayStraddle = mode == .bits64 && rip & pageMask > pageMask &+ 1 &- 15
    if mayStraddle {
      if let op = straddlingOp() { return op }
      cpu.pointee.exit = LeaveReason.lookUp
    }
    var instruction: Instruction?
    fetched.count = 0
    while instruction == nil, fetched.count < InstructionBytes.longest {
      let linear = (rip &+ UInt64(fetched.count)) & cpu.pointee.address_mask
      guard isInCodeSegment(linear) else {
        raiseAtRIP(cpu, X86.Exception.generalProtection, code: 0)
        return nil
      }
      guard let byte = codeByte(linear) else { return nil }
      fetched.append(byte)
      do throws(DecodeError) {
        instruction = try fetched.withBytes { (bytes) throws(DecodeError) in
          try Decoder.decode(bytes, mode: mode)
        }
      } catch {
        if error == .tooLong { break }
      }
    }
    cpu.pointee.page_base = rip & ~pageMask
    var ops = straddling
    if mayStraddle, let instruction, (rip & pageMask) + UInt64(instruction.length) > pageMask + 1,
      let page = codePlace(rip)?.page
    {
      let place = straddlingCode.place(of: rip)
      ops = place.ops
      place.entry.pointee = .init(
        rip: rip, page: page, variant: codeVariant, length: Int(instruction.length))
      fetched.withBytes { bytes in
        for index in 0..<Int(instruction.length) {
          place.entry.pointee.bytes[index] = bytes[index]
        }
      }
    }
    var translator = Translator(into: ops, capacity: StraddlingCode.opsPerEntry)
    translator.vectorDisabled = isVectorDisabled
    translator.features = model.features
    if cpu.pointee.code_mode != 2, !cpu.isInWholeCodePage(codeOffset(rip)) {
      // No jump is linked: whether its target is in the segment is asked when it is taken.
      translator.codeBound = CodeBound(first: 4096, last: 0)
    }
    let offset = Int(rip & pageMask)
    if let instruction {
      if case .sequential = translator.translate(instruction, at: offset) {
        translator.appendLink(lookUpHere, at: offset + Int(instruction.length))
      }
    } else {
      translator.appendLink(raiseTooLong, at: offset)
    }
    return Op(ops)
  }

  private func isInCodeSegment(_ linear: UInt64) -> Bool {
    cpu.pointee.code_mode == 2 || codeOffset(linear) <= cpu.limit(1)
  }

  /// One byte of code; `nil` once an exception was raised.
  private func codeByte(_ linear: UInt64) -> UInt8? {
    guard let place = codePlace(linear) else { return nil }
    let physical = place.physical | linear & pageMask
    guard let page = reachablePage(physical), place.page != nil else {
      return UInt8(truncatingIfNeeded: deviceRead(physical, .byte))
    }
    return page.base.load(fromByteOffset: Int(physical & pageMask), as: UInt8.self)
  }

  /// Forgets code decoded from a page.
  func dropCode(page: Int) {
    // Who keeps something of its code has tables, which compute when they grow.
    if asHost({ code.drop(page: page) }) { statistics.droppedPages.increment() }
  }
}

let raiseTooLong: Handler = { cpu, op in raise(cpu, op, X86.Exception.generalProtection, code: 0) }
