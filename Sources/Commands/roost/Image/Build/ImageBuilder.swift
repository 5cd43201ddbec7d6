import ArgumentParser
import Disks
import FoundationEssentials
import Glibc
import HostOS
import Monitor
import Synchronization
import Volumes

/// Makes a disk's file from a recipe. The files appear under their names only when they are whole.
struct ImageBuilder {
  private let output: String
  private let format: ImageFormat
  private let size: UInt64
  private let recipe: DebianRecipe
  private let unshare: HostTool
  private let installer: HostTool

  private static let firstPartition: UInt64 = 1 << 20
  private static let blockSize: UInt64 = 4096

  init(
    output: String, format: ImageFormat, size: UInt64, recipe: DebianRecipe
  ) throws(ConfigurationError) {
    self.output = output
    self.format = format
    self.size = size / Self.firstPartition * Self.firstPartition
    self.recipe = recipe
    unshare = try HostTool("unshare", package: "util-linux")
    installer = try HostTool("mmdebstrap", package: "mmdebstrap")
    _ = try HostTool("mke2fs", package: "e2fsprogs")
    if getuid() != 0 { _ = try HostTool("newuidmap", package: "uidmap") }
  }

  func build(seed: NoCloudSeed) throws {
    let start = ContinuousClock.now
    let work = try makeFolder()
    defer { try? FileManager.default.removeItem(at: work) }
    let disk = work.appending(path: "disk")
    try layOut(disk)
    try install(work, disk)
    say("Putting the files into place")
    try seed.write(to: output + ".seed")
    for (made, place) in [("kernel", output + ".vmlinuz"), ("initrd", output + ".initrd")] {
      try put(work.appending(path: made), at: place)
    }
    try put(format == .raw ? disk : try convert(disk, work), at: output)
    let seconds = start.duration(to: .now).components.seconds
    say(
      "Made \(output) in \(seconds) s. Start it with: roost run --kernel \(output).vmlinuz --initrd \(output).initrd "
        + "--cmdline \"root=LABEL=\(DebianRecipe.label) console=ttyS0\" --disk path=\(output),format=\(format.rawValue) "
        + "--disk path=\(output).seed,readonly=on --net user")
  }

  private func say(_ sentence: String) { StandardError.write("==> \(sentence)\n") }

  /// A folder beside the output, so that files are put into place by renaming.
  private func makeFolder() throws -> URL {
    let folder = URL(fileURLWithPath: output + ".building-\(getpid())")
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    } catch {
      throw ConfigurationError(
        "--output \(output)", "No folder can be made beside it: name a place where you may write.")
    }
    return folder
  }

  /// The whole disk, empty but for its partition table.
  private func layOut(_ disk: URL) throws {
    let sectors = size / GUIDPartitionTable.sectorSize
    let usable = GUIDPartitionTable.usable(of: sectors)
    let first = Self.firstPartition / GUIDPartitionTable.sectorSize
    let last = (usable.upperBound + 1) / 2048 * 2048 - 1
    let table = GUIDPartitionTable(
      sectorCount: sectors,
      partitions: [
        .init(type: GUIDPartitionTable.Kind.linuxRootX86_64, name: "root", sectors: first...last)
      ])
    let file = try StorageFile.open(disk.path, [.writable, .new])
    try file.resize(to: size)
    for (sector, bytes) in [(0, table.primary), table.backup] {
      var bytes = bytes
      try bytes.withUnsafeMutableBytes {
        try file.write([$0], at: sector * GUIDPartitionTable.sectorSize)
      }
    }
  }

  /// The length of the root partition in blocks.
  private var blocks: UInt64 {
    let sectors = size / GUIDPartitionTable.sectorSize
    let end = (GUIDPartitionTable.usable(of: sectors).upperBound + 1) / 2048 * 2048
    return (end * GUIDPartitionTable.sectorSize - Self.firstPartition) / Self.blockSize
  }

  private func install(_ work: URL, _ disk: URL) throws {
    let script = work.appending(path: "steps")
    try recipe.script(
      disk: disk.path, offset: Self.firstPartition, blocks: blocks,
      kernel: work.appending(path: "kernel").path, initrd: work.appending(path: "initrd").path
    ).write(to: script, atomically: false, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: script.path)
    let privileges = getuid() == 0 ? [] : ["--user", "--map-root-user", "--map-auto"]
    let tail = Mutex<[String]>([])
    let status = try unshare.run(
      privileges + ["--mount", "--pid", "--fork", "--mount-proc", "--", installer.path]
        + recipe.arguments(script: script.path)
    ) { line in
      tail.withLock { $0 = $0.suffix(20) + [line] }
      if let phase = Self.phase(line) { StandardError.write("==> \(phase)\n") }
    }
    guard status == 0 else {
      let reasons = tail.withLock { $0 }.filter { $0.hasPrefix("E:") || $0.contains("rror") }
      throw ConfigurationError(
        "roost image build",
        "mmdebstrap failed: \(reasons.last ?? "status \(status)"). Check the network, --mirror and --packages."
      )
    }
  }

  /// What mmdebstrap says it does, in words of ours.
  private static func phase(_ line: String) -> String? {
    for (beginning, phase) in [
      ("I: running apt-get update", "Fetching Debian's package lists"),
      ("I: downloading packages", "Fetching the packages of the base system"),
      ("I: extracting archives", "Unpacking them"),
      ("I: installing essential packages", "Setting up the base system"),
      ("I: installing remaining packages", "Fetching and installing everything else"),
      ("I: running --customize-hook", "Making the file system"),
    ] where line.hasPrefix(beginning) { return phase }
    return nil
  }

  /// Makes a qcow2 image of the finished disk.
  private func convert(_ disk: URL, _ work: URL) throws -> URL {
    say("Copying the disk into a qcow2 image")
    let made = work.appending(path: "disk.qcow2")
    let new = try NewImage(made.path, replacing: false)
    let image = try new.makeQCOW2(QCOW2Options(size: size))
    guard
      try ImageCopy().run(
        from: ImageOpener(format: .raw).open(disk.path), to: image, named: output, "Copied")
    else { throw ExitCode(Ending(.stopped).code) }
    try new.putIntoPlace()
    return made
  }

  private func put(_ made: URL, at place: String) throws {
    guard rename(made.path, place) == 0 else {
      throw ConfigurationError("--output \(output)", "\(place) cannot be written: name another.")
    }
  }
}
