import Glibc

extension Descriptor {
  /// Reads up to `count` bytes. None: the end, as far as it can be known now.
  ///
  /// - Parameter offset: where in the file; `nil`: where the last read ended.
  package func read(upTo count: Int, at offset: Int? = nil) throws(HostError) -> [UInt8] {
    var code: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      var result: Int
      repeat {
        result =
          if let offset {
            pread(handle, buffer.baseAddress, count, off_t(offset))
          } else {
            Glibc.read(handle, buffer.baseAddress, count)
          }
      } while result < 0
        && errno == EINTR
      if result < 0 { code = errno }
      filled = max(0, result)
    }
    guard code == 0 else { throw HostError("read", code: code) }
    return bytes
  }

  /// Writes what the host takes of `bytes` in one call; answers how many that was.
  package func write(_ bytes: ArraySlice<UInt8>) throws(HostError) -> Int {
    let result = bytes.withUnsafeBytes { buffer in
      var result: Int
      repeat {
        result = Glibc.write(handle, buffer.baseAddress, buffer.count)
      } while result < 0
        && errno == EINTR
      return result
    }
    guard result >= 0 else { throw .last("write") }
    return result
  }

  /// Writes all of `bytes`, waiting where needed.
  package func writeAll(_ bytes: [UInt8]) throws(HostError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      do throws(HostError) {
        rest = rest.dropFirst(try write(rest))
      } catch {
        // Somebody who shares the handle may have made it non-blocking.
        guard error.code == EAGAIN else { throw error }
        waitUntil(.writable)
      }
    }
  }

  /// Waits until the handle is ready. Answers `false` if `interruption` became readable first.
  @discardableResult
  package func waitUntil(_ readiness: Readiness, or interruption: Interruption? = nil) -> Bool {
    let events = readiness.contains(.writable) ? POLLOUT : POLLIN
    var handles = [pollfd(fd: handle, events: Int16(events), revents: 0)]
    if let interruption {
      handles.append(pollfd(fd: interruption.counter.handle, events: Int16(POLLIN), revents: 0))
    }
    while poll(&handles, nfds_t(handles.count), -1) < 0 && errno == EINTR {}
    return handles.count == 1 || handles[1].revents == 0
  }

  package var isTerminal: Bool { isatty(handle) == 1 }

  func close() { _ = Glibc.close(handle) }
}

/// Ends waits on other handles.
package final class Interruption: Sendable {
  let counter: Counter

  package init() throws(HostError) { counter = try Counter() }

  /// Ends every wait, now and later.
  package func raise() { counter.add() }
}
