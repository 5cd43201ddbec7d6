import ArgumentParser
import Execution
import HostOS
import LinuxBoot
import Monitor

/// `roost run`: a machine from its start to its end, attached to this terminal.
struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Starts a machine and stays until it ends.",
    discussion: """
      The machine's first serial port is this terminal: Ctrl-] and h list what else the keyboard can do. \
      SIGTERM presses the machine's power button, and ends it after a while or at the second signal. \
      SIGUSR1 saves it to the file of --snapshot, SIGUSR2 changes its engine.

      \(Ending.table)
      """)

  @OptionGroup(title: "What to start") var boot: BootOptions
  @OptionGroup(title: "The machine") var machine: MachineOptions
  @OptionGroup(title: "Its devices") var devices: DeviceOptions
  @OptionGroup(title: "Where it speaks") var outlets: OutletOptions
  @OptionGroup(title: "How it runs") var conduct: ConductOptions

  func run() async throws {
    let ending: Ending
    do {
      ending = try await Session(self).run()
    } catch let error as ConfigurationError {
      ending = .failed(.configuration, "\(error)")
    } catch let error as BootError {
      let option = boot.kernel.map { "--kernel \($0)" } ?? "--rom \(boot.rom ?? "")"
      ending = .failed(.configuration, "\(option): \(error)")
    } catch let error as SnapshotError {
      ending = .failed(.configuration, "--restore: \(error)")
    } catch let error as EngineError {
      ending = .failed(.engine, "\(error)")
    } catch {
      ending = .failed(.host, "\(error)")
    }
    Terminal.leaveRawMode()
    if let message = ending.message { StandardError.write("roost: \(message)\n") }
    throw ExitCode(ending.code)
  }
}

struct BootOptions: ParsableArguments {
  @Option(
    name: [.short, .long], help: "A Linux bzImage or vmlinux, or another PVH or Multiboot kernel.")
  var kernel: String?

  @Option(name: [.short, .long], help: "The kernel's initial RAM disk.")
  var initrd: String?

  @Option(name: [.customShort("c"), .long], help: "The kernel's command line.")
  var cmdline: String?

  @Option(
    help: ArgumentHelp("A further file for kernels that take them.", valueName: "file[=line]"))
  var module: [String] = []

  @Option(
    help: ArgumentHelp(
      "How to start the kernel: linux64, linux32, pvh or multiboot; else as suits it best.",
      valueName: "name"))
  var bootProtocol: String?

  @Option(help: "Firmware instead of a kernel: an image for the top of 4 GiB.")
  var rom: String?

  @Option(help: "A machine that was saved to this file, to go on where it was.")
  var restore: String?
}

struct MachineOptions: ParsableArguments {
  @Option(name: [.short, .long], help: "RAM, with a unit: 512M, 4G. (default: 512M)")
  var memory: String?

  @Option(help: "How many processors. (default: 1)")
  var cpus: Int?

  @Option(
    help: ArgumentHelp(
      "The processors' model: \(ProcessorModel.names). (default: x86-64-v2)", valueName: "name"))
  var cpu: String?

  @Option(
    help: ArgumentHelp(
      "What executes the guest: kvm; software; auto: KVM where it runs all of a guest natively; auto:any-kvm: "
        + "KVM wherever it runs.", valueName: "name"))
  var engine = "auto"

  @Option(
    help: ArgumentHelp(
      "Adds QEMU's isa-debug-exit device, by which a guest ends the run.", valueName: "port"))
  var debugExit: String?
}

struct OutletOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The serial ports, COM1 first: stdio, file:PATH, unix:PATH or null. (default: stdio)",
      valueName: "target"))
  var serial: [String] = []

  @Option(
    help: ArgumentHelp(
      "Where the debug console at ports 402h and E9h prints, as for --serial.", valueName: "target")
  )
  var debugConsole = "null"

  @Option(
    help: ArgumentHelp(
      "What to tell about the run: trace, debug, info, notice, warning, error.", valueName: "level")
  )
  var log = "notice"
}

struct ConductOptions: ParsableArguments {
  @Flag(help: "Ends the run when the guest resets the machine.")
  var noReboot = false

  @Option(
    help: ArgumentHelp(
      "How long a guest may take to switch off after SIGTERM.", valueName: "seconds"))
  var grace = 30

  @Option(help: ArgumentHelp("Where SIGUSR1 saves the machine.", valueName: "file"))
  var snapshot: String?

  @Option(
    help: ArgumentHelp(
      "Saves the machine to --snapshot after this time, and ends the run.", valueName: "seconds"))
  var snapshotAfter: Double?
}
