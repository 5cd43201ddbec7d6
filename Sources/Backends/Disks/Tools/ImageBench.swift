import HostOS
import Memory

/// Measures how quickly an image answers: so many requests, so many of them at a time, one behind the other or
/// anywhere. The requests take the way that a device's do.
///
/// The figures are to be compared with those of `qemu-img bench` of the same count, depth, size, step and cache mode.
package struct ImageBench: Sendable {
  package enum Operation: Sendable { case read, write, flush }

  package enum Order: Sendable, Equatable {
    /// Each request so many bytes beyond the one before, and from the image's start again where it ends.
    case step(UInt64)
    /// Anywhere, at multiples of a request's size; the same seed gives the same places.
    case random(seed: UInt64)
  }

  package var operation = Operation.read
  package var count = 75_000
  package var depth = 64
  /// Bytes of a request.
  package var size = 4096
  package var start: UInt64 = 0
  /// `nil`: each request where the one before ended.
  package var order: Order?
  /// What is written.
  package var pattern: UInt8 = 0
  /// Writes after which there is a flush, and it is waited for; 0: none.
  package var flushInterval = 0
  /// Threads for requests that wait.
  package var threads = 16

  package init() {}

  package struct Figures: Sendable {
    package let requests: Int
    package let bytes: UInt64
    package let nanoseconds: UInt64
    /// Requests that were answered at once, and cost no thread's waking.
    package let answeredAtOnce: Int

    package var requestsPerSecond: Double {
      Double(requests) * 1e9 / Double(max(nanoseconds, 1))
    }
    package var bytesPerSecond: Double { Double(bytes) * 1e9 / Double(max(nanoseconds, 1)) }
  }

  /// Runs the requests on an image and returns when all are answered, or with the first error. What is measured is
  /// theirs alone, and neither threads nor buffers are made meanwhile.
  package func run(on image: any DiskImage) throws(ImageError) -> Figures {
    let unit = max(512, image.alignment)
    guard count > 0, depth > 0, threads > 0, flushInterval >= 0 else {
      throw .refused("A benchmark has at least one request, one at a time, and one thread.")
    }
    guard size > 0, size % unit == 0, start % UInt64(unit) == 0 else {
      throw .refused("A request begins and ends at a multiple of \(unit) bytes.")
    }
    if case .step(let step) = order, step % UInt64(unit) != 0 {
      throw .refused("A step is a multiple of \(unit) bytes.")
    }
    guard UInt64(size) <= image.size else {
      throw .refused("The image is shorter than a request.")
    }
    guard depth <= 4096, size <= 1 << 30, size * depth <= 1 << 32 else {
      throw .refused("So many requests of that size need more than 4 GiB of memory.")
    }
    if operation == .write, image.isReadOnly { throw .refused("The image is read-only.") }
    let loop: EventLoop
    do throws(HostError) { loop = try EventLoop(name: "bench") } catch { throw ImageError(error) }
    defer { loop.stop() }
    let pool: WorkerPool
    do throws(HostError) {
      pool = try WorkerPool(name: "bench", limit: threads)
    } catch {
      throw ImageError(error)
    }
    defer { pool.stop() }
    let disk = QueuedDisk(image, sectorSize: unit, pool: pool)
    return try BenchRun(self, disk, loop).run().get()
  }
}
