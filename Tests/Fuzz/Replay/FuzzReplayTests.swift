import Foundation
import FuzzTargets
import Kit
import Testing

extension FuzzTarget: CustomTestStringConvertible {
  /// How a failure names the target.
  public var testDescription: String { name }

  /// What is stored in `Tests/Fuzz/Corpus`: inputs that fuzzing has found worth keeping, and those that once broke
  /// something.
  fileprivate var corpus: [[UInt8]] {
    get throws {
      let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Corpus/\(name)")
      return try FileManager.default.contentsOfDirectory(
        at: folder, includingPropertiesForKeys: nil
      )
      .sorted { $0.path < $1.path }.map { [UInt8](try Data(contentsOf: $0)) }
    }
  }
}

/// What Scripts/fuzz.sh does for hours, in seconds. An input that breaks a promise ends the process.
@Suite struct FuzzReplayTests {
  @Test(arguments: FuzzTarget.all)
  func `every stored input is lived through`(target: FuzzTarget) throws {
    let corpus = try target.corpus
    #expect(!corpus.isEmpty)
    for input in corpus { target.run(input) }
  }

  @Test(arguments: FuzzTarget.all)
  func `a thousand inputs of chance are lived through`(target: FuzzTarget) throws {
    let corpus = try target.corpus
    var chance = Chance(seed: 1)
    for _ in 0..<1000 { target.run(Self.input(&chance, corpus)) }
  }

  /// Bytes of chance, or a stored input as chance has spoilt it.
  private static func input(_ chance: inout Chance, _ corpus: [[UInt8]]) -> [UInt8] {
    func pick(_ limit: Int) -> Int { Int(chance.number(below: UInt64(limit))) }
    if corpus.isEmpty || pick(4) == 0 {
      return (0..<pick(200)).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
    }
    var input = corpus[pick(corpus.count)]
    for _ in 0...pick(5) where !input.isEmpty {
      let place = pick(input.count)
      switch pick(5) {
      case 0: input[place] ^= 1 << UInt8(pick(8))
      case 1: input[place] = UInt8(truncatingIfNeeded: chance.next())
      case 2: input.remove(at: place)
      case 3: input.insert(UInt8(truncatingIfNeeded: chance.next()), at: place)
      default:
        // The end of another.
        let other = corpus[pick(corpus.count)]
        input = Array(input.prefix(place)) + other.suffix(pick(other.count + 1))
      }
    }
    return Array(input.prefix(1 << 14))
  }
}
