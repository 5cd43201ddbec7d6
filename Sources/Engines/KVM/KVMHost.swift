import CKVM
import Execution
import Glibc
import HostOS

/// The host's KVM, opened.
///
/// - SeeAlso: Linux, Documentation/virt/kvm/api.rst, §4 "API description".
package struct KVMHost: Sendable {
  package static let path = "/dev/kvm"
  /// The only version that was ever stable.
  package static let apiVersion: Int32 = 12

  let handle: KVMHandle

  /// Opens KVM.
  package init() throws(KVMUnavailable) {
    let descriptor = open(Self.path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else {
      switch errno {
      case ENOENT, ENODEV, ENXIO: throw .absent
      case EACCES, EPERM: throw .notPermitted
      default: throw .failed(String(cString: strerror(errno)))
      }
    }
    handle = KVMHandle(taking: descriptor)
    let version = kvm_request(descriptor, UInt(KVM_REQUEST_GET_API_VERSION.rawValue), 0)
    guard version == Self.apiVersion else { throw .wrongVersion(version) }
  }

  /// What KVM says of a capability: 0 if it has not got it.
  func capability(_ number: Int32) -> Int {
    Int(
      max(
        0,
        kvm_request(
          handle.number, UInt(KVM_REQUEST_CHECK_EXTENSION.rawValue), UInt(number))))
  }

  /// Makes a machine without memory and processors.
  func makeMachine() throws(EngineError) -> KVMHandle {
    while true {
      let result = kvm_request(handle.number, UInt(KVM_REQUEST_CREATE_VM.rawValue), 0)
      if result == -EINTR { continue }
      guard result >= 0 else {
        throw EngineError("KVM cannot make a machine: \(String(cString: strerror(-result)))")
      }
      return KVMHandle(taking: result)
    }
  }
}

/// Why there is no KVM to use.
package enum KVMUnavailable: Error, Sendable, Equatable, CustomStringConvertible {
  case absent
  case notPermitted
  case wrongVersion(Int32)
  case failed(String)

  package var description: String {
    switch self {
    case .absent: "there is no \(KVMHost.path)"
    case .notPermitted: "this user may not open \(KVMHost.path)"
    case .wrongVersion(let version):
      "\(KVMHost.path) speaks version \(version) of its interface, not \(KVMHost.apiVersion)"
    case .failed(let reason): "\(KVMHost.path) cannot be opened: \(reason)"
    }
  }
}
