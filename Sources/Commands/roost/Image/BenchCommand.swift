import ArgumentParser
import Disks
import FoundationEssentials
import Monitor

/// `roost image bench`: how quickly an image answers.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures how quickly an image answers requests, which go the way a device's do.",
    discussion: "With --write the image's content is lost. Compare with: qemu-img bench.")

  @OptionGroup var image: ImageOptions
  @OptionGroup var report: ReportOptions

  @Option(help: "How many requests.") var count = 75_000
  @Option(help: "How many of them at a time.") var depth = 64
  @Option(help: "A request's size.") var size = DiskSize(bytes: 4096)

  @Option(help: "How far each request lies behind the one before. (default: its size)")
  var step: DiskSize?

  @Flag(help: "Requests go anywhere, instead of one behind the other.") var random = false
  @Flag(help: "Writes, instead of reading.") var write = false
  @Option(help: ArgumentHelp("The byte that is written.", valueName: "byte")) var pattern: UInt8 = 0

  @Option(help: ArgumentHelp("Flushes after so many writes. (default: never)", valueName: "count"))
  var flushInterval = 0

  @Option(help: ArgumentHelp("writeback, writethrough, direct or unsafe.", valueName: "mode"))
  var cache = CacheMode.writeback

  @Option(help: "Threads for requests that wait.") var threads = 16

  struct Figures: Encodable {
    let requests: Int
    let seconds: Double
    let requestsPerSecond: Double
    let bytesPerSecond: Double
    /// Requests that needed no thread.
    let answeredAtOnce: Int
  }

  func run() throws {
    try Complaint.orEnd {
      guard step == nil || !random else {
        throw ConfigurationError(
          "--step", "Requests that go anywhere have none: leave out --random.")
      }
      var bench = ImageBench()
      bench.operation = write ? .write : .read
      bench.count = count
      bench.depth = depth
      bench.size = Int(clamping: size.bytes)
      bench.order = random ? .random(seed: 1) : step.map { .step($0.bytes) }
      bench.pattern = pattern
      bench.flushInterval = flushInterval
      bench.threads = threads
      let opened = try image.open(ImageOpener(writable: write, cache: cache))
      let found = try Complaint.about(image.file) { [bench] () throws(ImageError) in
        try bench.run(on: opened)
      }
      let figures = Figures(
        requests: found.requests, seconds: Double(found.nanoseconds) / 1e9,
        requestsPerSecond: found.requestsPerSecond, bytesPerSecond: found.bytesPerSecond,
        answeredAtOnce: found.answeredAtOnce)
      try report.print(figures) {
        """
        \(figures.requests) requests in \(figures.seconds.text(decimals: 3)) s: \
        \(figures.requestsPerSecond.text(decimals: 0)) a second, \
        \((figures.bytesPerSecond / 1_048_576).text(decimals: 1)) MiB/s; \
        \(figures.answeredAtOnce) answered at once.
        """
      }
    }
  }
}
