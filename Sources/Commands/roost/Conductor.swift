import HostOS
import Monitor
import Streams

/// What somebody outside asks of the machine.
enum Request: Sendable {
  case console(ConsoleCommand)
  case signal(Signal)
  case graceEnded
  /// A device was unplugged.
  case departed(OpenedDevice)
  case snapshotDue
}

/// Carries out what is asked from outside, one request after another.
struct Conductor {
  let machine: VirtualMachine
  let attached: Attachments
  let plan: Plan
  /// What executes the guest now.
  private var engine: EngineKind
  /// Runs out when the guest has had time enough to switch off.
  let grace: Timer
  private var hasPressedButton = false

  init(
    machine: VirtualMachine, engine: EngineKind, attached: Attachments, plan: Plan, grace: Timer
  ) {
    self.machine = machine
    self.engine = engine
    self.attached = attached
    self.plan = plan
    self.grace = grace
  }

  /// Answers how the run is to end, if the request settles that in another way than the machine does.
  mutating func answer(_ request: Request) async -> Ending? {
    switch request {
    case .console(let command): await obey(command)
    case .signal(.interrupt), .signal(.quit), .graceEnded: await machine.stop()
    case .signal(.terminate), .signal(.hangUp): await terminate()
    case .signal(.user1):
      if let path = plan.snapshot { await save(to: path) }
    case .signal(.user2): await changeEngine()
    case .signal(.resumed):
      // Whoever stopped the process may have changed the terminal.
      if Terminal.isRaw { try? Terminal.enterRawMode(.standardInput) }
    case .departed(let device):
      attached.close(device)
      attached.show("\n\(device.name) is unplugged.\n")
    case .snapshotDue: return await saveAndLeave()
    }
    return nil
  }

  private mutating func terminate() async {
    guard !hasPressedButton else { return await machine.stop() }
    hasPressedButton = true
    grace.set(HostClock.now.advanced(by: plan.grace))
    await machine.pressPowerButton()
  }

  private func saveAndLeave() async -> Ending? {
    guard let path = plan.snapshot else { return nil }
    do {
      try await machine.save(to: path)
    } catch is MachineNotOn {
      return nil
    } catch {
      await machine.stop()
      return .failed(.host, "--snapshot: \(error)")
    }
    await machine.stop()
    return .saved
  }
}

// MARK: - From the keyboard

extension Conductor {
  private mutating func obey(_ command: ConsoleCommand) async {
    switch command {
    case .quit: await machine.stop()
    case .pause:
      await machine.pause()
      attached.show("\nPaused; Ctrl-] r goes on.\n")
    case .resume:
      await machine.resume()
      attached.show("\nResumed.\n")
    case .reset: await machine.reset()
    case .powerButton: await machine.pressPowerButton()
    case .nmi: await machine.sendNMI()
    case .registers:
      do {
        attached.show("\n\(try await machine.registers())\n")
      } catch {
        attached.show("\nNo registers: \(error).\n")
      }
    case .inspect(let path):
      attached.show(await machine.inspect(path).map { $0 + "\n" } ?? "There is no part \(path).\n")
    case .save(let path): await save(to: path)
    case .changeEngine: await changeEngine()
    case .plug(let text): await plug(text)
    case .unplug(let name): await unplug(name)
    }
  }

  private func plug(_ text: String) async {
    do {
      let device = try await attached.plug(DeviceRequest(parsing: text), into: machine)
      attached.show("\(device.name) is plugged in.\n")
    } catch {
      attached.show("Nothing was plugged in: \(error)\n")
    }
  }

  private func unplug(_ name: String) async {
    let asks = !name.hasSuffix("!")
    do {
      try await machine.unplug(asks ? name : String(name.dropLast()), asks: asks)
      if asks { attached.show("The guest was asked for \(name).\n") }
    } catch {
      attached.show("Nothing was unplugged: \(error)\n")
    }
  }

  private mutating func changeEngine() async {
    let former = engine
    do {
      let time = try await machine.move(to: former.other.makeEngine())
      engine = former.other
      let milliseconds = (time / .milliseconds(1) * 10).rounded() / 10
      attached.show(
        "\nThe engine is \(engine.rawValue) now, \(former.rawValue) before; the guest stood still for "
          + "\(milliseconds) ms.\n")
    } catch {
      attached.show("\nThe engine stays \(former.rawValue): \(error).\n")
    }
  }

  private func save(to path: String) async {
    do {
      try await machine.save(to: path)
      attached.show("Saved to \(path).\n")
    } catch {
      attached.show("Not saved: \(error).\n")
    }
  }
}
