import ArchitectureX86
import CProcessor
import HostOS
package import Inspection
import Synchronization
package import X86Processor

/// Makes host code of x86-64 guest code: instructions are kept as they are and run on the host's own registers.
///
/// One for each core, used on the core's thread only; `inspect` may be called on any.
package final class SameISATranslator: CodeTranslator {
  private unowned let core: Core
  let mapping: CodeMapping
  private let gates: Gates
  private let guest: X86.Features
  private let host: X86.Features
  private let isExact: Bool
  /// What checks host code, if anything does.
  private let comparison: Comparison?
  /// Where code starts, behind the gates, and where the next goes: numbers of bytes.
  private let start: Int
  private var used: Int
  /// Up to where it is written, but for jumps that are still to be led elsewhere.
  private var settled = 0
  /// By page, and then by variant.
  private var pages: [Int: [Int: NativePage]] = [:]
  /// How often pages have lost host code because they were written, less how often they went without since.
  private var losses: [Int: Int] = [:]

  /// Bytes of host code that are kept.
  package static let capacity = 24 << 20
  /// A page that has lost host code so often is left to the interpreter; each time that it is hot and has not lost any
  /// again counts one back.
  private static let mostLosses = 32
  private static let mostPagesCounted = 8192

  private let counts = Counts()

  private final class Counts: Sendable {
    let regions = Atomic<Int>(0)
    let instructions = Atomic<Int>(0)
    let bytes = Atomic<Int>(0)
    /// Jumps that were made to lead from one region straight to another; and those whose targets have no host code.
    let links = Atomic<Int>(0)
    let openLinks = Atomic<Int>(0)
    let forgottenPages = Atomic<Int>(0)
    let resets = Atomic<Int>(0)
    let nanoseconds = Atomic<Int>(0)
  }

  /// `nil` where the host is no x86-64, or forbids code to be made.
  ///
  /// - Parameters:
  ///   - isExact: whether all status flags are kept exact, even where nobody can look at them but a fault's handler,
  ///     and a page is translated again however often it is written: for tests.
  ///   - record: where the outcome of comparisons with the interpreter goes; `nil`: nothing is compared.
  package init?(for core: Core, isExact: Bool = false, comparing record: ComparisonRecord? = nil) {
    guard let host = HostProcessor.features, let mapping = CodeMapping(count: Self.capacity) else {
      return nil
    }
    self.core = core
    self.mapping = mapping
    self.host = host
    self.isExact = isExact
    guest = core.features
    var assembler = Assembler(
      at: mapping.writable.assumingMemoryBound(to: UInt8.self),
      distance: mapping.executable - UnsafeRawPointer(mapping.writable))
    gates = Gates(&assembler, hasAVX: host.hasAVX, isCompared: record != nil)
    comparison = record.map { [gates] in Comparison(core, gates: gates, $0) }
    start = (UnsafeMutableRawPointer(assembler.cursor) - mapping.writable + 63) & ~63
    used = start
    counts.bytes.store(used, ordering: .relaxed)
  }

  package var leaving: UInt64 { gates.leaving }

  /// Compares host code from an op on. Only where host code is compared.
  func compare(
    _ cpu: UnsafeMutablePointer<x86_cpu>, _ op: UnsafePointer<x86_op>
  ) -> Comparison.Onward {
    comparison.unsafelyUnwrapped.compare(cpu, op)
  }

  package func inspect(_ node: inout Node) {
    node.field("regions", counts.regions.load(ordering: .relaxed))
    node.field("instructions", counts.instructions.load(ordering: .relaxed))
    node.field("bytes", counts.bytes.load(ordering: .relaxed))
    node.field("links", counts.links.load(ordering: .relaxed))
    node.field("openLinks", counts.openLinks.load(ordering: .relaxed))
    node.field("capacity", Self.capacity)
    node.field("forgottenPages", counts.forgottenPages.load(ordering: .relaxed))
    node.field("resets", counts.resets.load(ordering: .relaxed))
    node.field("microseconds", counts.nanoseconds.load(ordering: .relaxed) / 1000)
  }

  // MARK: - Translating

  package func translate(_ page: HotPage, from offset: Int) -> Bool {
    guard page.variant.mode == .bits64 || page.variant.isFlat else { return true }
    if !isExact, let lost = losses[page.page], lost >= Self.mostLosses {
      losses[page.page] = lost - 1
      // So that it is asked for again.
      if let op = page.op(at: offset) { X86Processor.native(op).pointee.visits = 0 }
      return true
    }
    let began = ContinuousClock.now
    defer {
      let time = (ContinuousClock.now - began).components
      counts.nanoseconds.add(
        Int(time.seconds) * 1_000_000_000 + Int(time.attoseconds / 1_000_000_000),
        ordering: .relaxed)
    }
    let native = pages[page.page]?[page.variant.number] ?? NativePage()
    if native.steps[offset] != nil { return publishAlone(native, offset, page.variant) }
    let region = Region(
      page, from: offset, guest: guest, host: host, isExact: isExact
    ) { native.steps[$0] != nil }
    guard region.steps.count > 0 else { return true }
    guard used + (region.steps.count + 8) * Emitter.bytesPerStep <= mapping.count else {
      return false
    }
    if comparison != nil {
      let unit = ComparedUnit(region, page, core)
      for step in region.steps { native.units[step.offset] = unit }
    }
    pages[page.page, default: [:]][page.variant.number] = native
    write(region, native, page.variant)
    counts.regions.add(1, ordering: .relaxed)
    counts.instructions.add(region.steps.count, ordering: .relaxed)
    return true
  }

  private func assembler() -> Assembler {
    Assembler(
      at: (mapping.writable + used).assumingMemoryBound(to: UInt8.self),
      distance: mapping.executable - UnsafeRawPointer(mapping.writable))
  }

  /// The address at which a place in the code runs, and the other way round.
  private func address(_ place: NativeStep.Place) -> UInt64 {
    UInt64(UInt(bitPattern: mapping.executable)) + UInt64(place)
  }

  private func place(_ address: UInt64) -> NativeStep.Place {
    NativeStep.Place(address - UInt64(UInt(bitPattern: mapping.executable)))
  }

  private func op(_ step: NativeStep) -> UnsafePointer<x86_op> {
    UnsafePointer(core.cpu.pointee.ops.unsafelyUnwrapped) + Int(step.op)
  }

  private func commit(_ a: Assembler) {
    used = (UnsafeMutableRawPointer(a.cursor) - mapping.writable + 15) & ~15
    counts.bytes.store(used, ordering: .relaxed)
    let end = used & ~(Self.settledAtOnce - 1)
    guard end > settled else { return }
    mapping.settle(settled..<end)
    settled = end
  }

  private static let settledAtOnce = 256 << 10

  private func write(_ region: Region, _ native: NativePage, _ variant: CodeVariant) {
    var emitter = Emitter(
      assembler(), region, gates: gates, variant, isForward: comparison != nil,
      firstOp: core.cpu.pointee.ops.unsafelyUnwrapped)
    emitter.run { offset in
      guard comparison == nil, let step = native.steps[offset], step.uses.isSubset(of: region.uses)
      else {
        return nil
      }
      counts.links.add(1, ordering: .relaxed)
      return address(step.body)
    }
    native.steps.add(
      region.steps.indices.filter { emitter.bodies[$0] != 0 }.map { number in
        let step = region.steps[number]
        return NativeStep(
          offset: UInt16(step.offset), liveBefore: step.liveBefore, uses: region.uses,
          isForeign: step.isForeign, op: UInt32(emitter.number(of: step.op)),
          body: place(emitter.bodies[number]))
      })
    for (fixup, target) in emitter.outward { lead(fixup, to: target, region, native, &emitter) }
    publish(region, native, &emitter)
    let closing = native.takeLinks()
    counts.links.add(closing.count, ordering: .relaxed)
    counts.openLinks.subtract(closing.count, ordering: .relaxed)
    for link in closing {
      emitter.a.bind(
        Assembler.Fixup(Int(link.place), from: mapping.writable),
        to: flagsEntry(Int(link.target), native, has: link.has, &emitter))
    }
    commit(emitter.a)
  }

  /// Makes a jump out of the region lead to where the interpreter goes on, until there is host code there.
  private func lead(
    _ fixup: Assembler.Fixup, to target: Int, _ region: Region, _ native: NativePage,
    _ emitter: inout Emitter
  ) {
    if comparison == nil, native.steps[target] != nil {
      counts.links.add(1, ordering: .relaxed)
      emitter.a.bind(fixup, to: flagsEntry(target, native, has: region.uses, &emitter))
      return
    }
    emitter.a.bind(fixup)
    emitter.leaveToLoop(at: target, .live)
    guard comparison == nil else { return }
    counts.openLinks.add(1, ordering: .relaxed)
    native.add(
      NativePage.OpenLink(
        target: UInt16(target), has: region.uses,
        place: NativeStep.Place(fixup.offset(from: mapping.writable))))
  }

  // MARK: - Entries

  /// Lets the interpreter enter at the steps to which it may come: all but those behind one that never leaves.
  private func publish(_ region: Region, _ native: NativePage, _ emitter: inout Emitter) {
    var isBehindQuiet = false
    var previousEnd = -1
    for (number, step) in region.steps.enumerated() where emitter.bodies[number] != 0 {
      if previousEnd != step.offset { isBehindQuiet = false }
      // Whether it gets a gate or not: host code that leaves to it finds its handler there.
      X86Processor.native(step.op).pointee.handler = step.op.pointee.run
      if !isBehindQuiet { publish(step.offset, native, &emitter) }
      isBehindQuiet = step.meaning.isQuiet(step.instruction)
      previousEnd = region.steps[number + step.count - 1].next
    }
  }

  /// The interpreter jumps to a step that it was not thought to come to.
  private func publishAlone(
    _ native: NativePage, _ offset: Int, _ variant: CodeVariant
  ) -> Bool {
    guard used + Emitter.bytesPerStep <= mapping.count else { return false }
    var emitter = Emitter(
      assembler(), Region(), gates: gates, variant, firstOp: core.cpu.pointee.ops.unsafelyUnwrapped)
    publish(offset, native, &emitter)
    commit(emitter.a)
    return true
  }

  private func publish(_ offset: Int, _ native: NativePage, _ emitter: inout Emitter) {
    guard let step = native.steps[offset], !step.isForeign else { return }
    let entry = savedFlagsEntry(offset, native, &emitter)
    let op = UnsafeMutablePointer(mutating: op(step))
    let kept = X86Processor.native(op)
    let present = UInt64(unsafeBitCast(op.pointee.run, to: UInt.self))
    guard present != gates.enter, present != gates.enterWithoutFlags else { return }
    let gate = step.liveBefore.isEmpty && step.uses.isEmpty ? gates.enterWithoutFlags : gates.enter
    if let comparison, let unit = native.units[offset] {
      return comparison.publish(op, of: unit, at: offset, entry: entry, gate: gate)
    }
    let run = unsafeBitCast(
      UInt(gate),
      to: (@convention(c) (UnsafeMutablePointer<x86_cpu>, UnsafePointer<x86_op>) -> Void)
        .self)
    kept.pointee.handler = op.pointee.run
    kept.pointee.entry = entry
    op.pointee.run = run
  }

  /// Where a step goes on with status flags in `saved_flags`, and whatever else it uses anywhere.
  private func savedFlagsEntry(
    _ offset: Int, _ native: NativePage, _ emitter: inout Emitter
  ) -> UInt64 {
    guard let step = native.steps[offset] else { return 0 }
    if step.entry != 0 { return address(step.entry) }
    var entry = address(step.body)
    if !step.uses.isEmpty || !step.liveBefore.isEmpty {
      entry = emitter.a.here
      if step.uses.contains(.vectors) {
        bringIn(Field.hasVectors, by: gates.loadVectors, for: step, &emitter)
      }
      if step.uses.contains(.x87) { bringIn(Field.hasX87, by: gates.loadX87, for: step, &emitter) }
      if !step.liveBefore.isEmpty { emitter.restoreFlags() }
      emitter.a.jump(to: address(step.body))
    }
    native.steps[offset]?.entry = place(entry)
    return entry
  }

  /// Calls a gate that brings state into the host's registers, unless it is there.
  private func bringIn(
    _ isThere: Int, by gate: UInt64, for step: NativeStep, _ emitter: inout Emitter
  ) {
    emitter.a.arithmetic(.cmp, Field.at(isThere), constant: 0, .doubleword)
    let isDone = emitter.a.jump(if: .notZero)
    emitter.a.loadConstant(scratch2, UInt64(step.op))
    emitter.a.call(gate)
    emitter.a.bind(isDone)
  }

  /// Where a step goes on with status flags in the host's.
  private func flagsEntry(
    _ offset: Int, _ native: NativePage, has: HostState, _ emitter: inout Emitter
  ) -> UInt64 {
    guard let step = native.steps[offset] else { return gates.leaving }
    if step.uses.isSubset(of: has) { return address(step.body) }
    if step.flagsEntry != 0 { return address(step.flagsEntry) }
    // Made once, however many jumps lead here: room is kept for one.
    let entry = savedFlagsEntry(offset, native, &emitter)
    let flagsEntry = emitter.a.here
    emitter.saveFlags()
    emitter.a.jump(to: entry)
    native.steps[offset]?.flagsEntry = place(flagsEntry)
    return flagsEntry
  }

  // MARK: - Forgetting

  package func forget(page: Int) {
    guard let lost = pages.removeValue(forKey: page) else { return }
    counts.forgottenPages.add(lost.count, ordering: .relaxed)
    for native in lost.values { counts.openLinks.subtract(native.linkCount, ordering: .relaxed) }
    // A guest that writes code into every page must not make this grow with its memory.
    if losses.count == Self.mostPagesCounted { losses.removeAll() }
    losses[page, default: 0] += 1
  }

  package func forgetAll() {
    comparison?.forgetAll()
    pages.removeAll()
    losses.removeAll()
    used = start
    settled = 0
    counts.openLinks.store(0, ordering: .relaxed)
    counts.bytes.store(used, ordering: .relaxed)
    counts.resets.add(1, ordering: .relaxed)
  }
}
