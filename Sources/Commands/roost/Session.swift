import HostOS
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
    SignalSource.ignoreBrokenPipes()
    let loop = try EventLoop(name: "devices")
    let (requests, asking) = AsyncStream.makeStream(of: Request.self)
    let signals = try SignalSource(
      [.hangUp, .interrupt, .quit, .terminate, .user1, .resumed], on: loop
    ) { asking.yield(.signal($0)) }
    let attached = try Attachments(plan, on: loop) { asking.yield(.console($0)) }
    defer {
      attached.close()
      signals.cancel()
    }
    let machine = try makeMachine(loop, attached)
    attached.terminal?.show(EscapeKeys.announcement)
    try await machine.start()

    let timer = loop.makeTimer { asking.yield(.snapshotDue) }
    if let delay = plan.snapshotAfter { timer.set(HostClock.now.advanced(by: delay)) }
    let grace = loop.makeTimer { asking.yield(.graceEnded) }
    let desk = Task {
      var conductor = Conductor(machine: machine, attached: attached, plan: plan, grace: grace)
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

  private func makeMachine(_ loop: EventLoop, _ attached: Attachments) throws -> VirtualMachine {
    let engine = plan.engine.makeEngine()
    switch plan.start {
    case .powerOn(let configuration):
      return try VirtualMachine(
        configuration, engine: engine, loop: loop, backends: attached.backends, log: log)
    case .restore(let path):
      return try VirtualMachine(
        restoring: path, engine: engine, loop: loop, backends: attached.backends, log: log)
    }
  }
}
