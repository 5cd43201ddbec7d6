/// What a driver does with a device of one kind.
protocol DeviceUse: AnyObject {
  var name: StaticString { get }
  /// The kind's own features that it accepts.
  var features: UInt64 { get }
  var requestQueue: Int { get }
  /// A sound request for that queue, whose last part is the last that the device writes, if it writes any.
  func request() -> Chain
  /// Uses the device as one would; answers what went wrong, or `nil`.
  func fault(with driver: VirtioDriver) -> StaticString?
  /// What no driver of such a device may do.
  func breakRules(_ violations: Violations)
}

/// Which kinds there are, by number (VIRTIO 1.3 §5).
func deviceUse(ofKind kind: UInt32) -> (any DeviceUse)? {
  switch kind {
  case 1: NetworkUse()
  case 2: BlockUse()
  case 3: ConsoleUse()
  case 4: EntropyUse()
  case 5: BalloonUse()
  case 9: NinePUse()
  case 19: SocketUse()
  case 26: FileSystemUse()
  default: nil
  }
}
