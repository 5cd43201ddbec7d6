import ArchitectureX86
import ArgumentParser
import HostOS
import Memory
import Monitor

/// `roost cpu`: the software processor by itself, without a machine.
struct ProcessorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cpu",
    abstract: "Runs, names or checks instructions of the processor of our own.",
    subcommands: [StepCommand.self, DecodeCommand.self, ComparingCommand.self])
}

/// The model whose instructions there are.
struct ProcessorModelOption: ParsableArguments {
  @Option(
    help: ArgumentHelp("The processor's model, as for 'roost run'.", valueName: "name"))
  var cpu = "max"

  func model() throws -> X86.CPUModel {
    do throws(ConfigurationError) {
      return try ProcessorModel.parse(cpu)
    } catch {
      throw ValidationError("--cpu: \(error.description)")
    }
  }

  func validate() throws { _ = try model() }
}

/// Ends a command by how its lines went.
enum LineEnding {
  static let table = """
    Exit codes:
      0   every line was good
      2   some were not: each was answered by an object with "error"
      64  the command line is no good
      74  standard input or output, or memory, failed
    """

  static func conclude(_ exchange: () throws -> Int) throws {
    do {
      if try exchange() > 0 { throw ExitCode(2) }
    } catch let error as HostError {
      StandardError.write("roost: \(error)\n")
      throw ExitCode(Ending.Failure.host.rawValue)
    } catch let error as HostMemoryError {
      StandardError.write("roost: \(error)\n")
      throw ExitCode(Ending.Failure.host.rawValue)
    }
  }
}
