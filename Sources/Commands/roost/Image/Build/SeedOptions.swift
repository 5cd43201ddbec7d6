import ArgumentParser
import FoundationEssentials
import HostOS
import Monitor
import Volumes

/// Who a new guest is, and who may enter it.
struct SeedOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The guest's name. (default: debian)", valueName: "name"))
  var hostname: String?

  @Option(help: ArgumentHelp("The account that is made, which may use sudo.", valueName: "name"))
  var user = "debian"

  @Option(
    help: ArgumentHelp(
      "The account's password; without one it is entered by key only.", valueName: "text"))
  var password: String?

  @Option(
    help: ArgumentHelp(
      "A public key that opens the account, such as ~/.ssh/id_ed25519.pub.", valueName: "file"))
  var sshKey: [String] = []

  /// The seed, its values checked and the password hashed.
  func seed() throws -> NoCloudSeed {
    let hostname = hostname ?? "debian"
    guard Self.isName(hostname, limit: 63) else {
      throw ConfigurationError(
        "--hostname \(hostname)", "Write letters, digits and hyphens, at most 63.")
    }
    guard Self.isName(user, limit: 32), user.first?.isLetter == true, user == user.lowercased()
    else {
      throw ConfigurationError(
        "--user \(user)", "Write small letters, digits and hyphens, a letter first, at most 32.")
    }
    var keys: [String] = []
    for path in sshKey { keys += try Self.keys(in: path) }
    return NoCloudSeed(
      instanceID: GUID.random().description, hostName: hostname,
      user: .init(name: user, passwordHash: try password.map(Self.hash), sshKeys: keys))
  }

  private static func isName(_ text: String, limit: Int) -> Bool {
    !text.isEmpty && text.utf8.count <= limit && text.first != "-" && text.last != "-"
      && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
  }

  private static func keys(in path: String) throws -> [String] {
    let bytes: [UInt8]
    do throws(HostError) {
      bytes = try HostFile.contents(of: path, limit: 1 << 20)
    } catch {
      throw ConfigurationError(
        "--ssh-key \(path)",
        "Roost cannot read the file (\(error.reason)); name one that it can.")
    }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    let keys = lines.filter { !$0.hasPrefix("#") }
    guard !keys.isEmpty, keys.allSatisfy({ $0.contains("ssh-") || $0.contains("ecdsa-") }) else {
      throw ConfigurationError(
        "--ssh-key \(path)",
        "The file holds no public key: name the one whose name ends in .pub.")
    }
    return keys
  }

  /// crypt(3) with SHA-512, as `passwd` stores it.
  private static func hash(_ password: String) throws -> String {
    let tool = try HostTool("openssl", package: "openssl")
    let output = try tool.output(["passwd", "-6", "-stdin"], input: password + "\n")
    guard output.hasPrefix("$6$") else {
      throw ConfigurationError("--password", "openssl could not hash it: give --ssh-key instead.")
    }
    return output
  }
}

/// `roost image seed`: the disk that tells a cloud image who it is.
struct SeedCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "seed",
    abstract: "Makes a NoCloud seed: a small disk with a new guest's name, user and keys.",
    discussion: "Attach it beside the disk of any guest that has cloud-init.")

  @Argument(help: ArgumentHelp("The file to make.", valueName: "file"))
  var output: String

  @OptionGroup var options: SeedOptions

  func run() throws {
    try Complaint.orEnd { try options.seed().write(to: output) }
  }
}

extension NoCloudSeed {
  /// Writes the volume to a file that only its owner may read: it may hold a password's hash.
  func write(to path: String) throws {
    let file = try ReplacementFile(path: path)
    try file.descriptor.writeAll(try volume())
    try file.commit()
  }
}
