import Board
import HostOS
import Networks
import UserNetwork
import Virtio

extension NetworkRequest {
  /// Opens what the cable leads to.
  func open(as name: String, _ forwards: [PortForward], _ host: HostAccess) throws -> OpenedDevice {
    let address = mac ?? Self.defaultAddress(name)
    let bytes = stride(from: 40, through: 0, by: -8).map {
      UInt8(truncatingIfNeeded: address >> UInt64($0))
    }
    let capture = try openCapture(name)
    let target = try openTarget(forwards, host)
    return OpenedDevice(
      name: name, request: .network(self, forwards: forwards),
      make: { board in
        let port = try target(board)
        let captured: any NetworkPort = capture.map { CapturePort(port, to: $0) } ?? port
        return VirtioNetwork(ports: [captured], address: bytes, loop: board.loop)
      },
      close: { if let error = capture?.close() { throw error } })
  }

  /// Locally administered, as the first bits say; the same for the same card of a machine.
  private static func defaultAddress(_ name: String) -> UInt64 {
    let number = UInt64(name.drop { !$0.isNumber }) ?? 0
    return 0x5254_0012_3456 + number
  }

  private func openCapture(_ name: String) throws -> CaptureFile? {
    guard let capture else { return nil }
    do throws(HostError) {
      return try CaptureFile(to: HostFile.create(capture), interface: name)
    } catch {
      throw ConfigurationError(
        "--net capture=\(capture)",
        "The file cannot be written (\(error.reason)); name one that can.")
    }
  }

  private func openTarget(
    _ forwards: [PortForward], _ host: HostAccess
  ) throws -> @Sendable (Backplane) throws -> any NetworkPort {
    let loop = host.loop
    if case .user(let request) = target { return try request.opener(forwards, loop) }
    do throws(HostError) {
      switch target {
      case .null, .user: return { _ in NullPort() }
      case .tap(let name):
        let port = try TAPPort(TAPDevice(name: name ?? "tap%d"), on: loop)
        return { _ in port }
      case .stream(let path, let listens):
        return { board in
          try StreamPort(
            path: path, listens ? .listen : .connect(Reconnection()), on: loop, clock: board.clock)
        }
      }
    } catch {
      throw ConfigurationError("--net", error.description)
    }
  }
}

extension UserNetworkRequest {
  /// The network begins with the machine, whose time its timeouts are in.
  fileprivate func opener(
    _ forwards: [PortForward], _ loop: EventLoop
  ) throws(ConfigurationError) -> @Sendable (Backplane) throws -> any NetworkPort {
    var plan = UserNetworkPlan()
    plan.allowsHostLoopback = reachesHostLoopback
    if let hostName { plan.hostName = hostName }
    var names = NetworkNames()
    names.bootFile = bootFile
    let rules = try egressRules()
    let folder = try openFolder()
    return { [plan, names] board in
      let services = NetworkServices(
        plan: plan, names: names, rules: rules, folder: folder,
        transport: HostResolverTransport(on: loop), clock: board.clock, loop: loop)
      let network = UserNetwork(
        plan: plan, loop: loop, clock: board.clock, host: HostSockets(loop: loop),
        services: services.services, streamServices: services.streamServices,
        policy: services.policy, advertiser: services.advertiser)
      for forward in forwards { try forward.add(to: network) }
      return network
    }
  }

  private func egressRules() throws(ConfigurationError) -> [EgressRule]? {
    guard let allowed else { return nil }
    var rules: [EgressRule] = []
    for text in allowed {
      do throws(EgressRule.Mistake) {
        rules.append(try EgressRule(text))
      } catch {
        throw ConfigurationError("--net user,allow=\(text)", error.description)
      }
    }
    return rules
  }

  private func openFolder() throws(ConfigurationError) -> TFTPFolder? {
    guard let tftp else { return nil }
    do throws(HostError) {
      return try TFTPFolder(path: tftp)
    } catch {
      throw ConfigurationError(
        "--net user,tftp=\(tftp)", "The folder cannot be opened (\(error.reason)); name another.")
    }
  }
}

extension PortForward {
  fileprivate func add(to network: UserNetwork) throws(ConfigurationError) {
    var host = IPAddress.loopbackV4
    if let address {
      guard let parsed = IPAddress(address) else {
        throw ConfigurationError("--publish \(self)", "\(address) is no address of the host.")
      }
      host = parsed
    }
    do throws(HostError) {
      try network.addForward(
        transport == .tcp ? .tcp : .udp, hostAddress: host, hostPort: hostPort,
        guestPort: guestPort)
    } catch {
      throw ConfigurationError(
        "--publish \(self)", "The host's port cannot be used (\(error.reason)): take another.")
    }
  }
}
