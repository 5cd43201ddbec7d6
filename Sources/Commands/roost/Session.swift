import ArchitectureX86
import Execution
import HostOS
import KVM
import Logging
import Monitor
import Streams

/// One run: the machine, what is attached to it, and who may tell it what to do.
struct Session {
  private let plan: Plan
  private let log: Logger

  init(_ command: RunCommand) throws {
    plan = try command.plan()
    let level = plan.log
    log = Logger(label: "roost") { _ in StandardErrorLog(level: level) }
  }

  func run() async throws -> Ending {
    let decision = try decideEngine()
    SignalSource.ignoreFailedWrites()
    let loop = try EventLoop(name: "devices")
    let (requests, asking) = AsyncStream.makeStream(of: Request.self)
    let signals = try SignalSource(
      [.hangUp, .interrupt, .quit, .terminate, .user1, .user2, .resumed], on: loop
    ) { asking.yield(.signal($0)) }
    let attached = try Attachments(
      plan, on: loop, { asking.yield(.console($0)) }, departed: { asking.yield(.departed($0)) })
    defer {
      attached.close()
      signals.cancel()
    }
    let machine = try makeMachine(decision.engine, loop, attached)
    attached.terminal?.show(EscapeKeys.announcement)
    try await machine.start()

    let timer = loop.makeTimer { asking.yield(.snapshotDue) }
    if let delay = plan.snapshotAfter { timer.set(HostClock.now.advanced(by: delay)) }
    let grace = loop.makeTimer { asking.yield(.graceEnded) }
    let desk = Task {
      var conductor = Conductor(
        machine: machine, engine: decision.engine, attached: attached, plan: plan, grace: grace)
      for await request in requests {
        if let ending = await conductor.answer(request) { return ending as Ending? }
      }
      return nil
    }
    let reason = await machine.end()
    asking.finish()
    let asked = await desk.value
    timer.set(nil)
    grace.set(nil)
    return asked ?? Ending(reason)
  }

  /// Which engine there will be; one line of the log says which and why.
  private func decideEngine() throws -> EngineDecision {
    let decision: EngineDecision
    switch plan.start {
    case .powerOn(let configuration):
      decision = plan.engine.decide { KVMSurvey(for: configuration.model) }
    case .restore(let path):
      let model = try Snapshot(path: path).shape.processorModel
      decision = plan.engine.decide(tscFrequency: model.tscFrequency) { KVMSurvey(for: model) }
    }
    log.log(
      level: plan.engine.isAutomatic ? .notice : .info,
      "The engine is \(decision.engine.rawValue): \(decision.reason).")
    return decision
  }

  private func makeMachine(
    _ kind: EngineKind, _ loop: EventLoop, _ attached: Attachments
  ) throws -> VirtualMachine {
    let engine: any Engine<X86>
    do throws(KVMUnavailable) {
      engine = try kind.makeEngine()
    } catch {
      throw ConfigurationError("--engine \(kind.rawValue)", error.advice)
    }
    switch plan.start {
    case .powerOn(var configuration):
      // A machine that counts as KVM's processors do can be moved to KVM and back at any time.
      if let counter = (try? KVMHost())?.counter {
        configuration.model.tscFrequency = counter.frequency
        configuration.startsWithHostCounter = counter.isHosts
      }
      return try VirtualMachine(
        configuration, engine: engine, loop: loop, backends: attached.backends, log: log)
    case .restore(let path):
      return try VirtualMachine(
        restoring: path, engine: engine, loop: loop, backends: attached.backends, log: log)
    }
  }
}
