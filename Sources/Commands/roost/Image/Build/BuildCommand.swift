import ArgumentParser
import Disks
import FoundationEssentials
import HostOS
import Monitor

/// `roost image build`: a disk with an operating system on it, made from its packages.
struct BuildCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "build",
    abstract: "Makes a bootable disk from an operating system's packages.",
    discussion: """
      Beside FILE it leaves FILE.vmlinuz and FILE.initrd, with which `roost run` starts the system, and FILE.seed, \
      the disk that tells it its name, user and keys. It needs the Debian packages mmdebstrap, e2fsprogs and, for \
      others than root, uidmap.
      """)

  enum System: String, ExpressibleByArgument, CaseIterable { case debian }

  @Argument(help: "What to install: debian.") var system: System

  @Option(name: [.short, .long], help: ArgumentHelp("The disk to make.", valueName: "file"))
  var output: String

  @Option(
    help: ArgumentHelp(
      "What to make: raw or qcow2. (default: qcow2 if the file's name ends so, else raw)",
      valueName: "format"))
  var format: ImageFormat?

  @Option(help: "How large the disk is, with a unit.") var size = "8G"

  @Option(help: "The release.") var suite = "bookworm"

  @Option(help: ArgumentHelp("Where the packages are fetched.", valueName: "url"))
  var mirror: String?

  @Option(help: ArgumentHelp("The kernel's package.", valueName: "name"))
  var kernelPackage = "linux-image-amd64"

  @Option(help: ArgumentHelp("Further packages, separated by commas.", valueName: "names"))
  var packages: String?

  @OptionGroup var seed: SeedOptions

  func run() throws {
    try Complaint.orEnd {
      let size = try MemorySize(parsing: size).bytes
      guard (2 << 30...64 << 40).contains(size) else {
        throw ConfigurationError("--size \(self.size)", "Write at least 2G and at most 64T.")
      }
      var recipe = DebianRecipe(suite: suite, kernel: kernelPackage)
      if let mirror { recipe.mirror = mirror }
      recipe.extraPackages = (packages ?? "").split(separator: ",").map(String.init)
      for name in recipe.extraPackages + [suite, kernelPackage] where !Self.isPlain(name) {
        throw ConfigurationError("\"\(name)\"", "This is no name of a package or a release.")
      }
      let builder = try ImageBuilder(
        output: output, format: format ?? ImageFormat(named: output) ?? .raw, size: size,
        recipe: recipe)
      try builder.build(seed: seed.seed())
    }
  }

  private static func isPlain(_ name: String) -> Bool {
    !name.isEmpty && !name.hasPrefix("-")
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "+-.:".contains($0)) }
  }
}
