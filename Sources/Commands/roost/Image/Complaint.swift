import ArgumentParser
import HostOS
import Monitor

/// How the commands without a machine end when they cannot do what was asked: one sentence, and an exit code.
enum Complaint {
  /// Runs `body`; an error becomes a sentence on standard error and the code of its kind.
  static func orEnd(_ body: () throws -> Void) throws {
    do {
      try body()
    } catch let code as ExitCode {
      throw code
    } catch let error as ConfigurationError {
      throw end(.configuration, "\(error)")
    } catch {
      throw end(.host, "\(error)")
    }
  }

  private static func end(_ failure: Ending.Failure, _ message: String) -> ExitCode {
    let ending = Ending.failed(failure, message)
    StandardError.write("roost: \(message)\n")
    return ExitCode(ending.code)
  }
}
