import HostOS
import Synchronization

/// What client and server agree on.
///
/// - SeeAlso: Linux `include/uapi/linux/fuse.h`, "INIT request/reply flags".
struct FUSEFeatures: OptionSet {
  let rawValue: UInt32

  static let asynchronousRead = FUSEFeatures(rawValue: 1 << 0)
  static let recordLocks = FUSEFeatures(rawValue: 1 << 1)
  static let bigWrites = FUSEFeatures(rawValue: 1 << 5)
  static let fileLocks = FUSEFeatures(rawValue: 1 << 10)
  /// The guest drops cached data when a file's time or size changed.
  static let invalidation = FUSEFeatures(rawValue: 1 << 12)
  static let readDirectoryPlus = FUSEFeatures(rawValue: 1 << 13)
  static let readDirectoryPlusAtWill = FUSEFeatures(rawValue: 1 << 14)
  static let parallelDirectories = FUSEFeatures(rawValue: 1 << 18)
  static let manyPages = FUSEFeatures(rawValue: 1 << 22)
}

extension FUSEServer {
  /// The versions spoken: 7.31 to 7.38.
  private static let major: UInt32 = 7
  private static let oldestMinor: UInt32 = 31
  private static let newestMinor: UInt32 = 38
  /// The most bytes that one request reads or writes.
  static let longestTransfer = 1 << 20
  /// What a client without the many pages may ask for: 32 pages.
  private static let shortTransfer = 1 << 17

  private var features: FUSEFeatures {
    var features: FUSEFeatures = [
      .asynchronousRead, .bigWrites, .invalidation, .readDirectoryPlus, .readDirectoryPlusAtWill,
      .parallelDirectories, .manyPages,
    ]
    if tree.plan.sharesLocks { features.formUnion([.recordLocks, .fileLocks]) }
    return features
  }

  /// `struct fuse_init_in` and `fuse_init_out`. A client that begins anew has forgotten all it knew.
  func initialise(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let major = try call.body.number(UInt32.self)
    let minor = try call.body.number(UInt32.self)
    guard major >= FUSEServer.major else { throw .protocolError }
    var answer = writer(64)
    answer.number(FUSEServer.major)
    answer.number(FUSEServer.newestMinor)
    if major > FUSEServer.major {
      // The client is to come again with our version.
      answer.zeroes(56)
      return answer.bytes
    }
    guard minor >= FUSEServer.oldestMinor else { throw .protocolError }
    let readAhead = try call.body.number(UInt32.self)
    let agreed = FUSEFeatures(rawValue: try call.body.number()).intersection(features)
    let longest =
      agreed.contains(.manyPages) ? FUSEServer.longestTransfer : FUSEServer.shortTransfer
    answer.number(min(readAhead, UInt32(longest)))
    answer.number(agreed.rawValue)
    answer.number(UInt16(64))  // Requests in the background, and when there are too many of them.
    answer.number(UInt16(48))
    answer.number(UInt32(longest))
    answer.number(UInt32(1))  // Times are exact to the nanosecond.
    answer.number(UInt16(longest / 4096))
    answer.zeroes(64 - 30)
    reset()
    table.withLock { $0.isInitialised = true }
    return answer.bytes
  }

  func destroy() -> [UInt8] {
    reset()
    return done
  }

  /// What the guest expects no answer to: it forgets nodes, or no longer waits for a request. Nothing of ours can be
  /// interrupted, so the latter changes nothing.
  func forget(_ call: inout FUSECall) {
    guard call.isWhole else { return }
    var forgotten: [HostNode?] = []
    switch call.opcode {
    case .forget:
      guard let count = try? call.body.number(UInt64.self) else { return }
      let node = call.node
      forgotten.append(table.withLock { $0.forget(node, count) })
    case .forgetMany:
      guard let count = try? call.body.number(UInt32.self), (try? call.body.skip(4)) != nil else {
        return
      }
      for _ in 0..<count {
        guard let node = try? call.body.number(UInt64.self),
          let times = try? call.body.number(UInt64.self)
        else { break }
        forgotten.append(table.withLock { $0.forget(node, times) })
      }
    default: break
    }
  }
}
