import Board
import Execution
import HostOS
import Monitor
import Testing

struct LifecycleTests {
  @Test func `all processors run after start and none while paused`() async throws {
    let tally = Tally()
    let rig = try Rig(processors: 2) { (index, _) throws(EngineError) in
      tally.add(index)
      return nil
    }
    try await rig.machine.start()
    #expect(await eventually { tally[0] > 2 && tally[1] > 2 })
    await rig.machine.pause()
    let (first, second) = (tally[0], tally[1])
    let time = await rig.machine.inspect("guestTime")
    try await Task.sleep(for: .milliseconds(20))
    #expect(tally[0] == first && tally[1] == second)
    #expect(await rig.machine.inspect("guestTime") == time)
    #expect(await rig.machine.condition == .paused)
    await rig.machine.resume()
    #expect(await eventually { tally[0] > first && tally[1] > second })
    await rig.machine.stop()
    #expect(await rig.machine.end() == .stopped)
    rig.loop.stop()
  }

  @Test func `writing S5 to the sleep control register switches the machine off`() async throws {
    let rig = try Rig { (_, buses) throws(EngineError) in
      buses.ports.write(1 << 13, 0x604, .word)
      return nil
    }
    try await rig.machine.start()
    #expect(await rig.machine.end() == .poweredOff)
    rig.loop.stop()
  }

  @Test func `the debug exit port ends the run with its value`() async throws {
    let rig = try Rig { (_, buses) throws(EngineError) in
      buses.ports.write(0x2a, 0xf4, .byte)
      return nil
    }
    try await rig.machine.start()
    #expect(await rig.machine.end() == .debugExit(0x2a))
    rig.loop.stop()
  }

  @Test func `a reset puts devices back and the processors run again`() async throws {
    let tally = Tally()
    let rig = try Rig { (_, buses) throws(EngineError) in
      // COM1's scratch register tells whether this life has begun before.
      if buses.ports.read(0x3ff, .byte) == 0 {
        tally.add(0)
        buses.ports.write(0x55, 0x3ff, .byte)
        if tally[0] <= 3 { buses.ports.write(6, 0xcf9, .byte) }
      }
      return nil
    }
    try await rig.machine.start()
    #expect(await eventually { tally[0] == 4 })
    await rig.machine.stop()
    rig.loop.stop()
  }

  @Test func `a reset ends the run where it should not start again`() async throws {
    let rig = try Rig(restartsOnReset: false) { (_, buses) throws(EngineError) in
      buses.ports.write(0xfe, 0x64, .byte)
      return nil
    }
    try await rig.machine.start()
    #expect(await rig.machine.end() == .reset)
    rig.loop.stop()
  }

  @Test func `a triple fault names its processor`() async throws {
    let rig = try Rig(processors: 2) { (index, _) throws(EngineError) in
      index == 1 ? .tripleFault(.zero) : nil
    }
    try await rig.machine.start()
    #expect(await rig.machine.end() == .tripleFault(processor: 1))
    rig.loop.stop()
  }

  @Test func `a failing engine ends the run with its sentence`() async throws {
    let rig = try Rig { (_, _) throws(EngineError) in throw EngineError("the sky fell") }
    try await rig.machine.start()
    #expect(await rig.machine.end() == .failed("Processor 0 failed: the sky fell"))
    rig.loop.stop()
  }

  @Test func `steps asked for at once happen one after another`() async throws {
    let rig = try Rig(processors: 2)
    try await rig.machine.start()
    await withTaskGroup(of: Void.self) { group in
      for index in 0..<40 {
        group.addTask {
          switch index % 4 {
          case 0: await rig.machine.pause()
          case 1: await rig.machine.resume()
          case 2: await rig.machine.reset()
          default: _ = try? await rig.machine.registers()
          }
        }
      }
    }
    await rig.machine.stop()
    #expect(await rig.machine.end() == .stopped)
    #expect(await rig.machine.inspect("condition") == "ended")
    rig.loop.stop()
  }
}
