import ArchitectureX86
import ArgumentParser
import X86Processor

/// `roost cpu decode`: what bytes are as an instruction.
struct DecodeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode",
    abstract: "Says what bytes are as an instruction: length, mnemonic, operands.",
    discussion: """
      Bytes are hexadecimal digits, on the command line or one instruction a line of standard input; a line may also
      be an object {"bytes":"…","mode":"…","address":…,"model":"…"}. The answer is one JSON object a line. What is no
      instruction of the mode and model, too long, or too short, is answered by an object with "error".

      \(LineEnding.table)
      """)

  @OptionGroup var processor: ProcessorModelOption

  @Option(
    help: ArgumentHelp("The mode: real16, prot16, prot32 or long64.", valueName: "mode"))
  var mode = StepRequest.Mode.long64

  @Argument(help: ArgumentHelp("Bytes of an instruction.", valueName: "hex"))
  var bytes: [String] = []

  func run() throws {
    let model = try processor.model()
    try LineEnding.conclude {
      guard bytes.isEmpty else {
        let (text, isGood) = Self.answer(Array(bytes.joined(separator: " ").utf8), mode, model)
        print(text)
        return isGood ? 0 : 1
      }
      return try LineExchange.run { Self.answer($0, mode, model) }
    }
  }

  /// The answer to a line, and whether it was good.
  static func answer(
    _ line: [UInt8], _ mode: StepRequest.Mode, _ model: X86.CPUModel
  ) -> (text: String, isGood: Bool) {
    do throws(StepProblem) {
      var question = Question(mode: mode, model: model)
      try question.take(line)
      return question.answer
    } catch {
      return ("{\"error\":\(JSONText.quoted(error.description))}", false)
    }
  }

  private struct Question {
    var bytes: [UInt8] = []
    var mode: StepRequest.Mode
    var model: X86.CPUModel
    var address: UInt64 = 0

    init(mode: StepRequest.Mode, model: X86.CPUModel) {
      self.mode = mode
      self.model = model
    }

    mutating func take(_ line: [UInt8]) throws(StepProblem) {
      let text = String(decoding: line, as: UTF8.self)
      guard text.contains("{") else {
        bytes = try JSONText.string(text.filter { !$0.isWhitespace }).bytes("the line")
        return
      }
      for (name, value) in try JSONText(line).members("the line") {
        switch name {
        case "bytes": bytes = try value.bytes(name)
        case "address": address = try value.unsigned(name)
        case "mode":
          guard let known = StepRequest.Mode(rawValue: try value.text(name)) else {
            throw StepProblem("There is no such mode: write real16, prot16, prot32 or long64.")
          }
          mode = known
        case "model": model = try .named(try value.text(name))
        default: throw StepProblem("\"\(name)\" is none of a line's members.")
        }
      }
    }

    var answer: (String, Bool) {
      let size: CodeMode =
        switch mode {
        case .real16, .prot16: .bits16
        case .prot32: .bits32
        case .long64: .bits64
        }
      do throws(DisassemblyError) {
        let found = try Disassembler(mode: size, model: model).disassemble(bytes, at: address)
        return (Self.text(found, bytes), true)
      } catch {
        let sentence =
          switch error {
          case .truncated: "The bytes end before the instruction does."
          case .tooLong: "The instruction is longer than 15 bytes."
          case .undefined:
            "This encoding is illegal in this mode, or not an instruction of this model."
          }
        return (
          "{\"bytes\":\"\(Self.digits(bytes[...]))\",\"error\":\(JSONText.quoted(sentence))}", false
        )
      }
    }

    private static func digits(_ bytes: ArraySlice<UInt8>) -> String {
      bytes.map(\.hexDigits).joined()
    }

    private static func text(_ found: Disassembly, _ bytes: [UInt8]) -> String {
      func list(_ texts: [String]) -> String {
        "[" + texts.map(JSONText.quoted).joined(separator: ",") + "]"
      }
      return "{\"bytes\":\"\(digits(bytes[..<found.length]))\",\"length\":\(found.length),"
        + "\"prefixes\":\(list(found.prefixes)),\"mnemonic\":\(JSONText.quoted(found.mnemonic)),"
        + "\"operands\":\(list(found.operands)),\"text\":\(JSONText.quoted(found.text))}"
    }
  }
}

extension StepRequest.Mode: ExpressibleByArgument {}
