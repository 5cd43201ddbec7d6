import ArgumentParser
import Monitor

/// The devices that a machine has because the user asks for them.
struct DeviceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A disk: path=FILE[,format=raw|qcow2][,readonly=on][,overlay=memory]"
        + "[,cache=writeback|writethrough|direct|unsafe][,full=report|wait][,serial=TEXT][,queues=N][,bus=pci|mmio|PORT]. "
        + "The format is what format= says, or the end of the file's name.", valueName: "disk"))
  var disk: [String] = []

  @Option(
    help: ArgumentHelp(
      "A file as persistent memory: path=FILE[,readonly=on][,overlay=memory]. "
        + "Its size is a multiple of 2 MiB.", valueName: "file"))
  var pmem: [String] = []

  @Option(
    help: ArgumentHelp(
      "A network card: user[,allow=NAME+NETWORK…][,host-loopback=on][,tftp=FOLDER][,bootfile=NAME][,hostname=NAME], "
        + "tap[=NAME], stream=PATH, stream-listen=PATH or null; with [,mac=ADDRESS][,capture=FILE][,bus=pci|mmio|PORT].",
      valueName: "network"))
  var net: [String] = []

  @Option(
    name: [.customShort("p"), .long],
    help: ArgumentHelp(
      "A port of the host that leads to one of the guest's, through its first user network: 2222:22, "
        + "0.0.0.0:53:53/udp.", valueName: "[address:]port:port"))
  var publish: [String] = []

  @Option(
    help: ArgumentHelp(
      "A folder of the host's: path=FOLDER,tag=NAME[,type=virtiofs|9p][,readonly=on][,bus=pci|mmio|PORT].",
      valueName: "folder"))
  var share: [String] = []

  @Option(
    help: ArgumentHelp(
      "Sockets between host and guest: cid=NUMBER,socket=PATH[,bus=pci|mmio|PORT].",
      valueName: "sockets"))
  var vsock: String?

  @Option(
    help: ArgumentHelp(
      "Adds a virtio console (hvc0) that leads there, as for --serial.", valueName: "target"))
  var console: String?

  @Flag(help: "Lets the guest give memory back to the host that it does not use.")
  var balloon = false

  @Flag(help: "Leaves out the device that gives the guest random numbers.")
  var noEntropy = false

  @Option(
    help: ArgumentHelp(
      "A PCI Express root port, or a port of a switch, with a slot for one device: "
        + "id=NAME[,bus=SWITCH][,slot=NUMBER][,hotplug=on|off].", valueName: "port"))
  var pciPort: [String] = []

  @Option(
    help: ArgumentHelp(
      "A PCI Express switch in the slot of a port: id=NAME,bus=PORT.", valueName: "switch"))
  var pciSwitch: [String] = []

  var isEmpty: Bool {
    pciPort.isEmpty && pciSwitch.isEmpty && disk.isEmpty && pmem.isEmpty && net.isEmpty
      && publish.isEmpty
      && share.isEmpty && vsock == nil && !balloon
      && !noEntropy
  }

  /// The ports and switches that were asked for.
  func topology() throws(ConfigurationError) -> PCITopology {
    var topology = PCITopology()
    for text in pciPort {
      topology.ports.append(try named("--pci-port", PCIPortRequest(parsing: text)))
    }
    for text in pciSwitch {
      topology.switches.append(try named("--pci-switch", PCISwitchRequest(parsing: text)))
    }
    return topology
  }

  /// What was asked for, in the order in which it is plugged in.
  func requests() throws(ConfigurationError) -> [DeviceRequest] {
    var requests: [DeviceRequest] = []
    for text in disk { requests.append(.disk(try named("--disk", DiskRequest(parsing: text)))) }
    for text in pmem { requests.append(.pmem(try named("--pmem", PmemRequest(parsing: text)))) }
    var forwards: [PortForward] = []
    for text in publish { forwards.append(try named("--publish", PortForward(parsing: text))) }
    for text in net {
      let network = try named("--net", NetworkRequest(parsing: text))
      guard case .user = network.target else {
        requests.append(.network(network, forwards: []))
        continue
      }
      requests.append(.network(network, forwards: forwards))
      forwards = []
    }
    if let forward = forwards.first {
      throw ConfigurationError(
        "--publish \(forward)", "Ports are published by Roost's own network: add --net user.")
    }
    for text in share { requests.append(.share(try named("--share", ShareRequest(parsing: text)))) }
    if let vsock { requests.append(.vsock(try named("--vsock", VsockRequest(parsing: vsock)))) }
    if console != nil { requests.append(.console) }
    if balloon { requests.append(.balloon) }
    if !noEntropy { requests.append(.entropy) }
    return requests
  }
}

/// Adds an option's name to what is wrong with its value.
func named<Value>(
  _ option: String, _ value: @autoclosure () throws(ConfigurationError) -> Value
) throws(ConfigurationError) -> Value {
  do throws(ConfigurationError) {
    return try value()
  } catch {
    throw ConfigurationError("\(option) \(error.subject)", error.reason)
  }
}
