extension ShareRequest {
  func open(as name: String, _ host: HostAccess) throws -> OpenedDevice {
    throw ConfigurationError("--share path=\(path)", "This Roost has no shared folders.")
  }
}

extension VsockRequest {
  func open(as name: String, _ host: HostAccess) throws -> OpenedDevice {
    throw ConfigurationError("--vsock", "This Roost has no socket device.")
  }
}
