/// What is saved of a device's transport-independent registers, its queues, and the device itself.
package struct VirtioFunctionState: Codable, Sendable {
  struct Queue: Codable, Sendable {
    var size: UInt16
    var descriptorArea: UInt64
    var driverArea: UInt64
    var deviceArea: UInt64
    var isEnabled: Bool
    var isBroken: Bool
    var vector: UInt16
    var progress: QueueProgress
  }

  var status: UInt8
  var driverFeatures: UInt64
  var deviceFeatureSelect: UInt32
  var driverFeatureSelect: UInt32
  var queueSelect: UInt16
  var interruptStatus: UInt8
  var configurationVector: UInt16
  var configurationGeneration: UInt8
  var configurationChanged: Bool
  var queues: [Queue]
  /// The shape of the device's own state, and the state, in CBOR.
  var deviceSchema: String
  var device: [UInt8]
}

extension VirtioRegisters {
  func saved(deviceSchema: String, device: [UInt8]) -> VirtioFunctionState {
    VirtioFunctionState(
      status: status.rawValue, driverFeatures: driverFeatures.rawValue,
      deviceFeatureSelect: deviceFeatureSelect, driverFeatureSelect: driverFeatureSelect,
      queueSelect: queueSelect, interruptStatus: interruptStatus.rawValue,
      configurationVector: configurationVector, configurationGeneration: configurationGeneration,
      configurationChanged: hasUnreadConfiguration,
      queues: queues.map { queue in
        VirtioFunctionState.Queue(
          size: queue.size, descriptorArea: queue.descriptorArea, driverArea: queue.driverArea,
          deviceArea: queue.deviceArea, isEnabled: queue.isEnabled, isBroken: queue.fault != nil,
          vector: queue.vector, progress: queue.progress)
      },
      deviceSchema: deviceSchema, device: device)
  }
}
