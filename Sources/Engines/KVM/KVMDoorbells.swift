import Board
import CKVM
import Execution
import Work

/// Doorbells that the kernel rings: ioeventfd.
///
/// - SeeAlso: Linux, Documentation/virt/kvm/api.rst, §4.59 "KVM_IOEVENTFD".
final class KVMDoorbells: DoorbellRegistrar, Sendable {
  private let machine: KVMHandle

  init(_ machine: KVMHandle) { self.machine = machine }

  func add(_ doorbell: any Doorbell, for trigger: DoorbellTrigger) throws(EngineError) {
    try request(doorbell, trigger, 0, "connect a doorbell")
  }

  func remove(_ doorbell: any Doorbell, for trigger: DoorbellTrigger) throws(EngineError) {
    try request(
      doorbell, trigger, UInt32(KVM_DOORBELL_REMOVE),
      "disconnect a doorbell")
  }

  private func request(
    _ doorbell: any Doorbell, _ trigger: DoorbellTrigger, _ flags: UInt32, _ attempt: String
  ) throws(EngineError) {
    guard let handle = doorbell.hostHandle else {
      throw EngineError("KVM cannot \(attempt): it has no handle of the host's")
    }
    var request = kvm_ioeventfd()
    request.addr = trigger.address
    // Of any width: in memory KVM then rings it without a look at the instruction.
    request.len = UInt32(trigger.width?.rawValue ?? 0)
    request.fd = handle
    request.flags = flags
    if trigger.space == .ports { request.flags |= UInt32(KVM_DOORBELL_AT_PORT) }
    if let value = trigger.value {
      request.datamatch = value
      request.flags |= UInt32(KVM_DOORBELL_MATCHES)
    }
    try machine.request(KVM_REQUEST_IOEVENTFD, &request, attempt)
  }
}
