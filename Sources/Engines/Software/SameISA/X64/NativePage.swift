import CProcessor
import X86Processor

/// Host code of one page, for one variant.
final class NativePage {
  /// By offset in the page.
  var steps = NativeSteps()
  /// Jumps that lead out of host code because their targets had none.
  private var links: [OpenLink] = []
  /// Where host code is compared, the region to which a step belongs.
  var units: [Int: ComparedUnit] = [:]

  struct OpenLink {
    let target: UInt16
    /// What is surely in the host's registers when it is taken.
    let has: HostState
    /// Where its distance lies.
    let place: NativeStep.Place
  }

  var linkCount: Int { links.count }

  func add(_ link: OpenLink) { links.append(link) }

  /// Takes the links for whose targets there is host code now.
  func takeLinks() -> [OpenLink] {
    let closing = links.filter { steps[Int($0.target)] != nil }
    if !closing.isEmpty { links.removeAll { steps[Int($0.target)] != nil } }
    return closing
  }
}

/// A step that has host code. There are as many as translated instructions: each is small.
struct NativeStep {
  /// A place in the translator's code; the gates, which no step has, are at the first.
  typealias Place = UInt32

  let offset: UInt16
  let liveBefore: StatusFlags
  /// What the body takes to be in the host's registers.
  let uses: HostState
  /// Whether its host code does no more than to leave to the interpreter's op.
  let isForeign: Bool
  /// The number of its op.
  let op: UInt32
  /// Where it goes on with the guest's state in the host's registers.
  let body: Place
  /// Where it goes on with status flags in `saved_flags`, and whatever else it uses anywhere; zero: not made yet.
  var entry: Place = 0
  /// Where it goes on with status flags in the host's, and whatever else it uses anywhere; zero: not made yet.
  var flagsEntry: Place = 0
}

/// The steps of a page by their offsets.
struct NativeSteps {
  private var sorted: [NativeStep] = []

  /// The first that does not come before an offset.
  private func index(_ offset: Int) -> Int {
    var (low, high) = (0, sorted.count)
    while low < high {
      let middle = (low + high) / 2
      if Int(sorted[middle].offset) < offset { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Only what is there may be set.
  subscript(offset: Int) -> NativeStep? {
    get {
      let index = index(offset)
      return index < sorted.count && Int(sorted[index].offset) == offset ? sorted[index] : nil
    }
    set {
      guard let newValue else { return }
      sorted[index(offset)] = newValue
    }
  }

  /// Adds steps in the order of their offsets, none of which is there.
  mutating func add(_ steps: [NativeStep]) {
    var merged: [NativeStep] = []
    merged.reserveCapacity(sorted.count + steps.count)
    var rest = steps[...]
    for old in sorted {
      while let new = rest.first, new.offset < old.offset { merged.append(rest.removeFirst()) }
      merged.append(old)
    }
    merged += rest
    sorted = merged
  }
}
