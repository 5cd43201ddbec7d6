#if arch(x86_64) && os(Linux)
  import Glibc
  import Testing

  @testable import X86Processor

  /// `make cpu-proof`: as many random instructions as one asks for, spread over all groups of the user's mode, on the
  /// host's processor and on ours. Documentation/ProcessorProof.md says what is compared, and what the manual leaves
  /// open.
  @Suite(.serialized)
  struct ProcessorProofTests {
    private static func number(_ name: String) -> UInt64? {
      getenv(name).flatMap { UInt64(String(cString: $0)) }
    }

    static let count = number("ROOST_PROOF_COUNT")
    private static let seed = number("ROOST_PROOF_SEED") ?? 1

    /// Instructions of one kind: carries out about as many as it is told, and answers how many they were and the
    /// first differences.
    private struct Group {
      let name: String
      let run: (_ count: Int, _ seed: UInt64) throws -> (Int, [String])
    }

    @Test(.enabled(if: count != nil, "takes minutes: 'make cpu-proof' runs it"))
    func `every group does what the host's processor does`() throws {
      let integers = try #require(
        IntegerComparison(), "the host refused executable memory at fixed addresses")
      let groups = Self.integerGroups(integers) + Self.vectorGroups + Self.x87Groups
      let share = max(1, Int(Self.count ?? 0) / groups.count)
      var total = 0
      var different = 0
      let start = Self.processorTime
      for (index, group) in groups.enumerated() {
        let began = Self.processorTime
        let (done, differences) = try group.run(share, Self.seed &* 1_000_003 &+ UInt64(index))
        let each = Double(Self.processorTime - began) / Double(max(done, 1)) / 1000
        print("\(done)\t\(differences.count)\t\(Int(each * 10)) \(group.name)")
        for difference in differences { Issue.record("\(group.name): \(difference)") }
        total += done
        different += differences.count
      }
      let seconds = Double(Self.processorTime - start) / 1e9
      print(
        "\(total) instances in \(groups.count) groups, \(different) differences, \(Int(seconds)) s, seed \(Self.seed)"
      )
    }

    private static var processorTime: UInt64 { clock_gettime_nsec() }

    private static func clock_gettime_nsec() -> UInt64 {
      var time = timespec()
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
      return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static func integerGroups(_ comparison: IntegerComparison) -> [Group] {
      InstructionGroup.all.flatMap { group in
        group.modes.map { mode in
          Group(name: "\(group.name) (\(mode))") { count, seed in
            (count, comparison.run(group, mode, count: UInt64(count), seed: seed &* 31))
          }
        }
      }
    }

    private static var vectorGroups: [Group] {
      let narrow = (VectorInstructions.all + VectorInstructions.extensions).map { group in
        Group(name: "SSE: \(group.testDescription)") { count, seed in
          let each = max(1, count / (group.codes.count * group.immediates.count))
          var done = 0
          var differences: [String] = []
          for code in group.codes {
            for immediate in group.immediates {
              done += each
              if let found = try VectorDifferentialTests.firstMismatch(
                code + immediate, group, samples: each, seed: seed &+ UInt64(done))
              {
                differences.append(found)
              }
            }
          }
          return (done, differences)
        }
      }
      let vex = hostHasAVX2 ? VEXInstructions.all : []
      let wide = (vex + (hostHasCiphers ? VEXInstructions.ciphers : [])).map { group in
        Group(name: "AVX and its time: \(group.testDescription)") { count, seed in
          let machine = try LongModeCore.withAVX()
          let each = max(1, count / group.encodings.count)
          var done = 0
          var differences: [String] = []
          for encoding in group.encodings {
            done += each
            if let found = try VEXDifferentialTests.firstMismatch(
              encoding, machine, group, samples: each, seed: seed &+ UInt64(done))
            {
              differences.append(found)
            }
          }
          return (done, differences)
        }
      }
      return narrow + wide
    }

    private static var x87Groups: [Group] {
      (UInt8(0xd8)...0xdf).map { opcode in
        Group(name: "x87: \(String(opcode, radix: 16))") { count, seed in
          let instructions = X87Trial.instructions.filter { $0.opcode == opcode }
          let each = max(1, count / instructions.count)
          var bits = RandomBits(seed: seed)
          let differences = instructions.compactMap {
            X87Trial.firstDifference($0, trials: each, &bits)
          }
          return (each * instructions.count, differences)
        }
      }
    }
  }
#endif
