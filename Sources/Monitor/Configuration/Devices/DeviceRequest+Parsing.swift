extension DeviceRequest {
  /// Reads a device that is plugged into a running machine: the name of its option and its value, as in
  /// `disk path=data.raw,bus=rp0`.
  package init(parsing text: String) throws(ConfigurationError) {
    let words = text.split(separator: " ", maxSplits: 1)
    let kind = words.first.map { $0.hasPrefix("--") ? $0.dropFirst(2) : $0 } ?? ""
    let value = words.count > 1 ? String(words[1]) : ""
    switch kind {
    case "disk": self = .disk(try DiskRequest(parsing: value))
    case "net": self = .network(try NetworkRequest(parsing: value), forwards: [])
    case "share": self = .share(try ShareRequest(parsing: value))
    case "vsock": self = .vsock(try VsockRequest(parsing: value))
    default:
      throw ConfigurationError(
        text,
        "Write a disk, net, share or vsock and its value, such as disk path=data.raw,bus=rp0.")
    }
  }
}
