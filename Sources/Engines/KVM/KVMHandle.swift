import CKVM
import Execution
import Glibc
import HostOS

/// A descriptor of KVM's: the host's, a machine's or a processor's.
struct KVMHandle: Sendable {
  let descriptor: Descriptor

  /// Takes the handle that a request answered.
  init(taking handle: Int32) { descriptor = Descriptor(owning: handle) }

  /// The descriptor's number.
  var number: Int32 { descriptor.handle }

  /// Makes a request whose argument is a number.
  @discardableResult
  func request(
    _ request: kvm_requests, _ argument: Int = 0, _ attempt: @autoclosure () -> String
  ) throws(EngineError) -> Int32 {
    try check(
      kvm_request(number, UInt(request.rawValue), UInt(bitPattern: argument)), attempt())
  }

  /// Makes a request whose argument the kernel reads or fills.
  @discardableResult
  func request<Argument>(
    _ request: kvm_requests, _ argument: inout Argument, _ attempt: @autoclosure () -> String
  ) throws(EngineError) -> Int32 {
    try check(
      withUnsafeMutablePointer(to: &argument) {
        kvm_request_pointer(number, UInt(request.rawValue), $0)
      }, attempt())
  }

  /// Makes a request whose argument ends in an array.
  @discardableResult
  func request(
    _ request: kvm_requests, at argument: UnsafeMutableRawPointer,
    _ attempt: @autoclosure () -> String
  ) throws(EngineError) -> Int32 {
    try check(kvm_request_pointer(number, UInt(request.rawValue), argument), attempt())
  }

  private func check(
    _ result: Int32, _ attempt: @autoclosure () -> String
  ) throws(EngineError) -> Int32 {
    guard result >= 0 else {
      throw EngineError("KVM cannot \(attempt()): \(String(cString: strerror(-result)))")
    }
    return result
  }
}
