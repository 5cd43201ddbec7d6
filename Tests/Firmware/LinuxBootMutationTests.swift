import LinuxBoot
import Testing

/// Damaged images: a plan that keeps its promises or a refusal, never a trap, never a long wait.
struct LinuxBootMutationTests {
  private static let originals: [[UInt8]] = [
    Images.bzImage(), Images.elf64(pvh: 0x100_0040), Images.elf64(), Images.multibootELF(),
    Images.multibootFlat(), Gzipped.flatMultiboot, Gzipped.stored(Images.elf64()),
  ]

  @Test(arguments: 0..<4 as Range<UInt64>)
  func `no damage does harm`(seed: UInt64) {
    var random = Random(seed: seed)
    var outcomes = (planned: 0, refused: 0)
    for original in Self.originals {
      for _ in 0..<100 {
        let file = damaged(original, &random)
        var request = BootRequest.on(file)
        request.initrd = [1, 2, 3]
        request.commandLine = "panic=1"
        request.bootProtocol = BootProtocol.allCases.randomElement(using: &random)
        if Bool.random(using: &random) { request.bootProtocol = nil }
        do {
          expectSound(try BootPlan(request), request)
          outcomes.planned += 1
        } catch {
          #expect(error.description.hasSuffix("."))
          outcomes.refused += 1
        }
      }
    }
    #expect(outcomes.planned > 0 && outcomes.refused > 0)
  }

  /// Segments are disjoint, in usable RAM, and hold the entry point.
  private func expectSound(_ plan: BootPlan, _ request: BootRequest) {
    let ranges = plan.segments.map(\.range).filter { !$0.isEmpty }
      .sorted { $0.lowerBound < $1.lowerBound }
    for (range, next) in zip(ranges, ranges.dropFirst()) {
      #expect(range.upperBound <= next.lowerBound)
    }
    for range in ranges {
      #expect(
        request.memoryMap.contains {
          $0.kind == .usable && $0.start <= range.lowerBound
            && range.upperBound <= $0.start + $0.size
        })
    }
    if let entry = plan.entry {
      #expect(entry.instructionPointer < 1 << 32)
    }
  }

  /// The file with some bits flipped, cut off, or with fields of its header made extreme.
  private func damaged(_ original: [UInt8], _ random: inout Random) -> [UInt8] {
    var file = original
    switch UInt8.random(in: 0..<4, using: &random) {
    case 0:
      for _ in 0..<UInt8.random(in: 1...16, using: &random) {
        let offset = Int.random(in: 0..<file.count, using: &random)
        file[offset] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
    case 1: file.removeLast(Int.random(in: 1...file.count, using: &random))
    default:
      let extremes: [Int] = [
        -1, .max, .min, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_F000, 0, 1, 0x10_0000, 0x100_0000,
      ]
      for _ in 0..<UInt8.random(in: 1...3, using: &random) {
        let width = [1, 2, 4, 8].randomElement(using: &random) ?? 4
        let limit = Swift.min(file.count - 8, 0x280)
        let offset = Int.random(in: 0..<limit, using: &random) & ~(Swift.min(width, 4) - 1)
        var bytes = Bytes(file)
        bytes.put(extremes.randomElement(using: &random) ?? 0, width, at: offset)
        file = bytes.all
      }
    }
    return file
  }
}

/// A generator that gives the same numbers in every run (xorshift64*).
struct Random: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_F491_4F6C_DD1D
  }
}
