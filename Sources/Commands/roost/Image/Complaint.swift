import ArgumentParser
import Disks
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
    } catch let error as ImageError {
      throw end(error.failure, "\(error)")
    } catch let error as ImageComplaint {
      throw end(error.failure, error.sentence)
    } catch {
      throw end(.host, "\(error)")
    }
  }

  /// Runs what is done to an image; an error's sentence begins with the image's path, if it is not in it anyway.
  static func about<R>(_ path: String, _ body: () throws(ImageError) -> R) throws -> R {
    do throws(ImageError) {
      return try body()
    } catch {
      let sentence = error.description
      if sentence.contains("\"\(path)\"") { throw error }
      throw ImageComplaint(sentence: "\(path): \(sentence)", failure: error.failure)
    }
  }

  private static func end(_ failure: Ending.Failure, _ message: String) -> ExitCode {
    let ending = Ending.failed(failure, message)
    StandardError.write("roost: \(message)\n")
    return ExitCode(ending.code)
  }
}

/// An `ImageError` with the path of its image.
private struct ImageComplaint: Error {
  let sentence: String
  let failure: Ending.Failure
}

extension ImageError {
  /// What is refused, and an image that contradicts itself, is the files' fault; all else is the host's.
  fileprivate var failure: Ending.Failure {
    switch self {
    case .refused, .disk(.damaged), .disk(.outOfRange), .disk(.readOnly), .disk(.unsupported):
      .configuration
    case .disk(.noSpace), .disk(.host): .host
    }
  }
}
