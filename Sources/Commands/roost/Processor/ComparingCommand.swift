import ArchitectureX86
import ArgumentParser
import Execution
import HostOS
import LinuxBoot
import Logging
import Monitor
import SameISA
import SoftwareEngine
import Streams
import Synchronization

/// `roost cpu compare`: a machine whose host code is checked against the interpreter as it runs.
struct ComparingCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Boots a machine and checks the translator's host code against the interpreter.",
    discussion: """
      The guest's code is made host code the first time that a jump leads to it. Each time it runs, up to --first times,
      and after that one time in --every, the interpreter runs it too: registers, flags, vector registers and memory must
      be the same. The first difference ends the run. The guest has one processor, a serial port, whose output goes to
      standard error, and no disks.

      Exit codes:
        0   nothing was found: the guest ended, or it was time
        1   host code does something else than the interpreter: standard output says what
        4   the guest's processor shut down (triple fault)
        64  the command line, or a file it names, is no good
        70  the engine failed
        74  the host failed
      """)

  @Option(
    name: [.short, .long], help: "A Linux bzImage or vmlinux, or another PVH or Multiboot kernel.")
  var kernel: String

  @Option(name: [.short, .long], help: "The kernel's initial RAM disk.")
  var initrd: String?

  @Option(name: [.customShort("c"), .long], help: "The kernel's command line.")
  var cmdline: String?

  @Option(name: [.short, .long], help: "RAM, with a unit: 512M, 4G.")
  var memory = "512M"

  @OptionGroup var processor: ProcessorModelOption

  @Option(help: "How often each piece of code is compared before --every counts.")
  var first = 100

  @Option(help: "Which time is compared after that: each 1000th.")
  var every = 1000

  @Flag(
    help: "Keeps and compares only those status flags at which somebody looks, as in other runs.")
  var liveFlags = false

  @Option(help: ArgumentHelp("Ends the run when the guest prints this.", valueName: "text"))
  var until: String?

  @Option(help: "Ends the run after this time.")
  var seconds: Int?

  @Flag(help: "Does not show what the guest prints.")
  var quiet = false

  func validate() throws {
    guard first > 0, every > 0 else {
      throw ValidationError("--first and --every are numbers of times: give at least 1.")
    }
    if let seconds, seconds < 1 { throw ValidationError("--seconds: give at least 1.") }
  }

  func run() async throws {
    let ending: Ending
    do {
      ending = try await compare()
    } catch let error as ConfigurationError {
      ending = .failed(.configuration, "\(error)")
    } catch let error as BootError {
      ending = .failed(.configuration, "--kernel \(kernel): \(error)")
    } catch let error as EngineError {
      ending = .failed(.engine, "\(error)")
    } catch {
      ending = .failed(.host, "\(error)")
    }
    if let message = ending.message { StandardError.write("roost: \(message)\n") }
    throw ExitCode(ending.code)
  }

  private func compare() async throws -> Ending {
    let configuration = try configuration()
    let (wishes, wishing) = AsyncStream.makeStream(of: Void.self)
    let difference = Mutex<ComparedDifference?>(nil)
    let record = ComparisonRecord(first: first, every: every) { found in
      difference.withLock { $0 = found }
      wishing.yield()
    }
    let console = WatchedConsole(isShown: !quiet, until: until) { wishing.yield() }
    let loop = try EventLoop(name: "devices")
    let machine = try VirtualMachine(
      configuration,
      engine: SoftwareEngine(tier: .comparison(record, isExact: !liveFlags)), loop: loop,
      backends: PC.Backends(serial: [console, NullStream(), NullStream(), NullStream()]),
      log: Logger(label: "roost") { _ in StandardErrorLog(level: .warning) })
    let began = HostClock.now
    try await machine.start()
    let timer = loop.makeTimer { wishing.yield() }
    if let seconds {
      timer.set(HostClock.now.advanced(by: UInt64(seconds) * 1_000_000_000))
    }
    let stopping = Task { for await _ in wishes { await machine.stop() } }
    let reason = await machine.end()
    wishing.finish()
    await stopping.value
    timer.set(nil)
    if let found = difference.withLock({ $0 }) {
      print(found.text)
      return Ending(code: 1, message: "The translator and the interpreter differ.")
    }
    let milliseconds = (HostClock.now.nanoseconds - began.nanoseconds) / 1_000_000
    print(Self.summary(record.counts, milliseconds))
    switch reason {
    case .tripleFault, .failed: return Ending(reason)
    default: return Ending(code: 0, message: nil)
    }
  }

  /// What was compared, in words.
  static func summary(_ counts: ComparisonRecord.Counts, _ milliseconds: UInt64) -> String {
    """
    No difference in \(counts.pieces) pieces of code, \(counts.instructions) instructions, in \
    \(milliseconds / 1000).\(milliseconds / 100 % 10) s.
    Left early by host code: \(counts.early). Not comparable: \(counts.incomparable). Differed in undefined flags: \
    \(counts.undefined). Differed once, and not again: \(counts.disturbed).
    """
  }

  private func configuration() throws(ConfigurationError) -> VMConfiguration {
    var kernel = VMConfiguration.Kernel(
      image: try wholeFile("--kernel", self.kernel), commandLine: cmdline ?? "")
    if let initrd { kernel.initrd = try wholeFile("--initrd", initrd) }
    return VMConfiguration(
      memory: try named("--memory", MemorySize(parsing: memory)), processors: 1,
      model: try ProcessorModel.parse(processor.cpu), boot: .kernel(kernel), debugExitPort: nil,
      restartsOnReset: false)
  }
}

/// Takes what the guest prints, shows it, and says once that it has printed a text.
final class WatchedConsole: ByteStream {
  private let isShown: Bool
  private let text: [UInt8]
  private let found: @Sendable () -> Void
  /// The end of what was printed, shorter than the text.
  private let tail = Mutex<[UInt8]>([])

  init(isShown: Bool, until text: String?, found: @escaping @Sendable () -> Void) {
    self.isShown = isShown
    self.text = Array((text ?? "").utf8)
    self.found = found
  }

  func send(_ bytes: [UInt8]) -> Int {
    if isShown { try? Descriptor.standardError.writeAll(bytes) }
    guard !text.isEmpty else { return bytes.count }
    let isFound = tail.withLock { tail in
      tail += bytes
      let isFound = (0...tail.count).contains { tail[$0...].starts(with: text) }
      tail = isFound ? [] : Array(tail.suffix(text.count - 1))
      return isFound
    }
    if isFound { found() }
    return bytes.count
  }

  func receive(upTo count: Int) -> [UInt8] { [] }
  func attach(_ user: any ByteStreamUser) {}
}
