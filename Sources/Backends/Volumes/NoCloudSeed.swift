/// What a new guest is told about itself, as cloud-init's NoCloud data source reads it from a disk.
///
/// - SeeAlso: cloud-init 22.4 documentation, "Datasources: NoCloud".
package struct NoCloudSeed: Sendable {
  package struct User: Sendable {
    package let name: String
    /// As `crypt(3)` makes it; `nil`: no password opens the account.
    package let passwordHash: String?
    /// Whole lines of `authorized_keys`.
    package let sshKeys: [String]

    package init(name: String, passwordHash: String? = nil, sshKeys: [String] = []) {
      self.name = name
      self.passwordHash = passwordHash
      self.sshKeys = sshKeys
    }
  }

  package let instanceID: String
  package let hostName: String
  package let user: User

  /// - Parameter instanceID: a guest that sees another than last time takes itself for new.
  package init(instanceID: String, hostName: String, user: User) {
    self.instanceID = instanceID
    self.hostName = hostName
    self.user = user
  }

  package var metaData: String {
    "instance-id: \(Self.quoted(instanceID))\nlocal-hostname: \(Self.quoted(hostName))\n"
  }

  package var userData: String {
    var lines = [
      "#cloud-config", "hostname: \(Self.quoted(hostName))",
      "ssh_pwauth: \(user.passwordHash == nil ? "false" : "true")", "users:",
      "  - name: \(Self.quoted(user.name))", "    shell: /bin/bash",
      "    groups: [sudo]", "    sudo: \"ALL=(ALL) NOPASSWD:ALL\"",
      "    lock_passwd: \(user.passwordHash == nil ? "true" : "false")",
    ]
    if let hash = user.passwordHash { lines.append("    passwd: \(Self.quoted(hash))") }
    if !user.sshKeys.isEmpty {
      lines.append("    ssh_authorized_keys:")
      lines += user.sshKeys.map { "      - \(Self.quoted($0))" }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The disk: a volume labelled as the data source looks for it.
  package func volume() throws(FATVolume.Full) -> [UInt8] {
    let content = metaData + userData
    let serial = content.utf8.reduce(UInt32(0x811c_9dc5)) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    return try FATVolume(
      label: "CIDATA", serial: serial,
      files: [
        .init(name: "meta-data", content: Array(metaData.utf8)),
        .init(name: "user-data", content: Array(userData.utf8)),
      ]
    ).bytes
  }

  /// YAML 1.2 §7.3.1 "Double-Quoted Style": nothing in the text can end it.
  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": result += "\\" + String(scalar)
      case _ where scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value):
        let digits = String(scalar.value, radix: 16)
        result += "\\x" + (digits.count < 2 ? "0" : "") + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
