package import HostOS
import Synchronization

/// A cable to a tap interface of the host, which its administrator bridges or routes as he likes.
///
/// Sums and segmentation are left to the host's kernel, in both directions. A frame for an interface that is down
/// is lost, as on an unplugged cable. When the interface is taken away, nothing comes or goes any more.
///
/// The loop only watches: frames are read and written on the caller's thread.
package final class TAPPort: NetworkPort {
  private struct State {
    var statistics = PortStatistics()
    /// Where the next frame is read to, once for all frames.
    var buffer = [UInt8](repeating: 0, count: Frame.maximumLength)
    /// What the loop watches for.
    var interests: Readiness = []
    var source: HandleSource?
    var failure: HostError?
  }
  private let device: TAPDevice
  private let loop: EventLoop
  private let state = Mutex(State())
  private let user = PortUser()
  package let maximumTransmissionUnit: Int

  package init(_ device: TAPDevice, on loop: EventLoop) throws(HostError) {
    self.device = device
    self.loop = loop
    maximumTransmissionUnit = min(65535, max(68, device.maximumTransmissionUnit ?? 1500))
    let source = try loop.watch(device.handle, for: []) { [weak self] in self?.handleReady($0) }
    state.withLock { $0.source = source }
  }

  package var offloads: Offloads { .all }

  package func accept(_ offloads: Offloads) {
    // The host cuts no segments without leaving their sums unfinished.
    guard offloads.contains(.checksum) else { return _ = device.accept([]) }
    var accepted: TAPDevice.Offloads = .checksum
    if offloads.contains(.segmentTCPv4) { accepted.insert(.segmentTCPv4) }
    if offloads.contains(.segmentTCPv6) { accepted.insert(.segmentTCPv6) }
    if !device.accept(accepted) { _ = device.accept([]) }
  }

  package func attach(_ user: any NetworkPortUser) {
    self.user.attach(user)
    state.withLock { Self.watch(for: .readable, &$0) }
  }

  /// What was counted so far.
  package var statistics: PortStatistics { state.withLock { $0.statistics } }
  /// Why nothing comes or goes any more.
  package var failure: HostError? { state.withLock { $0.failure } }

  /// Lets go of the interface's readiness; frames still pass.
  package func close() { state.withLock { $0.source = nil } }
}

// MARK: - Frames

extension TAPPort {
  package func send(_ frames: [Frame]) -> Int {
    state.withLock { state in
      for (index, frame) in frames.enumerated() {
        guard let header = TAPDevice.Header(frame) else {
          state.statistics.dropped += 1
          continue
        }
        do throws(HostError) {
          guard try device.send(header, frame.bytes) else {
            Self.watch(for: state.interests.union(.writable), &state)
            return index
          }
          state.statistics.sent += 1
        } catch {
          state.statistics.dropped += 1
        }
      }
      return frames.count
    }
  }

  package func receive(upTo count: Int) -> [Frame] {
    state.withLock { state in
      var frames: [Frame] = []
      while frames.count < count, state.failure == nil {
        do throws(HostError) {
          guard let (header, length) = try device.receive(into: &state.buffer) else {
            Self.watch(for: state.interests.union(.readable), &state)
            break
          }
          guard length >= Frame.headerLength, length <= state.buffer.count else {
            state.statistics.dropped += 1
            continue
          }
          frames.append(
            Frame(Array(state.buffer[..<length]), unfinished: Frame.Unfinished(header)))
        } catch {
          state.failure = error
          state.source = nil
        }
      }
      state.statistics.received += UInt64(frames.count)
      return frames
    }
  }

  /// On the loop. Each readiness is told once; the user's next call looks for more.
  private func handleReady(_ readiness: Readiness) {
    var events: PortEvents = []
    state.withLock { state in
      var rest = state.interests
      if readiness.contains(.readable) || readiness.contains(.ended) {
        events.insert(.mayReceive)
        rest.remove(.readable)
      }
      if readiness.contains(.writable) {
        events.insert(.maySend)
        rest.remove(.writable)
      }
      Self.watch(for: rest, &state)
      // A handle that has failed is ready for ever.
      if readiness.contains(.ended), !readiness.contains(.readable) {
        state.source = nil
      }
    }
    user.tell(events)
  }

  private static func watch(for interests: Readiness, _ state: inout State) {
    guard interests != state.interests else { return }
    state.interests = interests
    state.source?.setInterests(interests)
  }
}
