package import Board
import Inspection
import SavedState
import Work

/// What every component promises, whatever it is. One suite, run against every conformer.
///
/// The answer is the list of promises broken, as sentences: a test expects it to be empty.
package enum ComponentContract {
  /// Checks the life of one kind of component, and every access to its registers.
  ///
  /// - Parameters:
  ///   - make: builds the part anew, the same each time, in power-on state and not started.
  ///   - plug: maps the part's registers, if it has any, onto a bus.
  ///   - wideAccess: what the bus does with an access that is too wide: as ports do, or as memory does.
  ///   - disturb: brings a started part into a state that differs from power-on and is worth saving.
  ///   - batteryBacked: the part keeps part of its state through a reset, on purpose.
  ///   - settle: runs what the part posted to its loop.
  package static func violations<Device: Component>(
    of make: () -> Device,
    plug: (Device, IOBus) -> Void = { _, _ in },
    wideAccess: IOBus.WideAccess = .split,
    disturb: (Device) -> Void,
    batteryBacked: Bool = false,
    settle: () -> Void = {}
  ) -> [String] {
    let disturb = { (device: Device) in
      settle()
      disturb(device)
      settle()
    }
    var broken = Findings()
    checkSchema(Device.schema, &broken)
    checkInspection(make(), &broken)
    checkStartAndStop(make(), disturb, settle, &broken)
    checkSaveAndRestore(make, disturb, settle, &broken)
    if !batteryBacked { checkReset(make, disturb, settle, &broken) }
    checkHostileState(make, plug, wideAccess, disturb, settle, &broken)
    checkRegisters(make(), plug, wideAccess, settle, &broken)
    return broken.sentences
  }

  /// Sentences, each once.
  struct Findings {
    private(set) var sentences: [String] = []

    mutating func note(_ sentence: String, unless kept: Bool = false) {
      if !kept && !sentences.contains(sentence) { sentences.append(sentence) }
    }
  }
}

// MARK: - Life

extension ComponentContract {
  private static func checkSchema(_ schema: String, _ broken: inout Findings) {
    let parts = schema.split(separator: "/", omittingEmptySubsequences: false)
    let wellFormed = parts.count == 2 && !parts[0].isEmpty && Int(parts[1]) != nil
    broken.note("the schema \(schema) is not of the form name/1", unless: wellFormed)
  }

  private static func checkInspection<Device: Component>(
    _ device: Device, _ broken: inout Findings
  ) {
    var node = Node()
    device.inspect(&node)
    broken.note("inspection shows nothing", unless: node != Node())
  }

  private static func checkStartAndStop<Device: Component>(
    _ device: Device, _ disturb: (Device) -> Void, _ settle: () -> Void,
    _ broken: inout Findings
  ) {
    device.start()
    device.start()
    disturb(device)
    let first = saveAtRest(device, settle, &broken)
    let again = saveAtRest(device, settle, &broken)
    broken.note("a second stop, or a save, changed the state", unless: first == again)
  }

  private static func checkSaveAndRestore<Device: Component>(
    _ make: () -> Device, _ disturb: (Device) -> Void, _ settle: () -> Void,
    _ broken: inout Findings
  ) {
    guard let saved = disturbed(make(), disturb, settle, &broken) else { return }
    let twin = make()
    broken.note(
      "the disturbance leaves the state as it was at power-on",
      unless: Device.Saved.self == Stateless.self || saved != saveAtRest(twin, settle, &broken))
    do throws(RestoreError) {
      try twin.restore(from: saved)
    } catch {
      broken.note("its own saved state is refused: \(error)")
      return
    }
    broken.note(
      "saved, restored and saved again, the state differs",
      unless: saved == saveAtRest(twin, settle, &broken))
  }

  private static func checkReset<Device: Component>(
    _ make: () -> Device, _ disturb: (Device) -> Void, _ settle: () -> Void,
    _ broken: inout Findings
  ) {
    let device = make()
    let fresh = saveAtRest(device, settle, &broken)
    _ = disturbed(device, disturb, settle, &broken)
    device.reset()
    broken.note(
      "a reset is not power-on state", unless: fresh == saveAtRest(device, settle, &broken))
  }

  /// Starts the device, disturbs it, stops it, and saves it.
  private static func disturbed<Device: Component>(
    _ device: Device, _ disturb: (Device) -> Void, _ settle: () -> Void,
    _ broken: inout Findings
  ) -> SavedPart? {
    device.start()
    disturb(device)
    return saveAtRest(device, settle, &broken)
  }

  private static func saveAtRest<Device: Component>(
    _ device: Device, _ settle: () -> Void, _ broken: inout Findings
  ) -> SavedPart? {
    let rest = Barrier()
    device.stop(rest)
    settle()
    broken.note("with no work in flight, a stop does not come to rest", unless: rest.isReached)
    do throws(SaveError) {
      return try device.savedPart(named: "part")
    } catch {
      broken.note("a save at rest fails: \(error)")
      return nil
    }
  }
}

// MARK: - Saved states that were tampered with

extension ComponentContract {
  /// Cuts the saved state short everywhere, and damages each of its bytes in turn. Each state is
  /// either refused, and then nothing has changed, or taken over, and then the device still works.
  private static func checkHostileState<Device: Component>(
    _ make: () -> Device, _ plug: (Device, IOBus) -> Void, _ wideAccess: IOBus.WideAccess,
    _ disturb: (Device) -> Void, _ settle: () -> Void,
    _ broken: inout Findings
  ) {
    guard let saved = disturbed(make(), disturb, settle, &broken) else { return }
    var strange = saved
    strange.schema = "strange/1"
    broken.note(
      "a saved state of another schema is taken",
      unless: !attempt(strange, on: make(), settle, &broken))
    for count in 0..<saved.payload.count {
      var short = saved
      short.payload = Array(saved.payload.prefix(count))
      broken.note(
        "a saved state cut short is taken", unless: !attempt(short, on: make(), settle, &broken))
    }
    for index in saved.payload.indices {
      for damage: UInt8 in [0x01, 0x10, 0x80, 0xff] {
        var damaged = saved
        damaged.payload[index] ^= damage
        let device = make()
        guard attempt(damaged, on: device, settle, &broken) else { continue }
        device.start()
        let bus = IOBus(wideAccess: wideAccess)
        plug(device, bus)
        RegisterAccessMatrix.sweep(bus, widths: [.byte, .doubleword], values: [0xff], &broken)
        _ = saveAtRest(device, settle, &broken)
      }
    }
  }

  /// Whether the state was taken over. A refusal must leave the device as it was.
  private static func attempt<Device: Component>(
    _ part: SavedPart, on device: Device, _ settle: () -> Void,
    _ broken: inout Findings
  ) -> Bool {
    let before = saveAtRest(device, settle, &broken)
    do throws(RestoreError) {
      try device.restore(from: part)
      return true
    } catch {
      broken.note(
        "a refused state changed the device", unless: before == saveAtRest(device, settle, &broken))
      return false
    }
  }
}

// MARK: - Registers

extension ComponentContract {
  private static func checkRegisters<Device: Component>(
    _ device: Device, _ plug: (Device, IOBus) -> Void, _ wideAccess: IOBus.WideAccess,
    _ settle: () -> Void, _ broken: inout Findings
  ) {
    let bus = IOBus(wideAccess: wideAccess)
    plug(device, bus)
    device.start()
    RegisterAccessMatrix.sweep(bus, &broken)
    device.reset()
    RegisterAccessMatrix.sweep(bus, &broken)
    _ = saveAtRest(device, settle, &broken)
  }
}

/// Every offset, at every width, aligned or not, read and written: the outcome is defined, and no
/// access traps.
enum RegisterAccessMatrix {
  /// Values that tell bits apart: none, all, alternating, and one that counts bytes.
  static let values: [UInt64] = [0, ~0, 0x5555_5555_5555_5555, 0x0706_0504_0302_0180]

  /// Goes over all that is mapped on the bus, and the seven bytes before, as a processor would.
  static func sweep(
    _ bus: IOBus, widths: [AccessWidth] = AccessWidth.allCases, values: [UInt64] = values,
    _ broken: inout ComponentContract.Findings
  ) {
    var view = BusView(bus)
    for mapping in bus.map {
      let first = mapping.range.lowerBound - min(7, mapping.range.lowerBound)
      for address in first..<mapping.range.upperBound {
        for width in widths {
          for value in values {
            view.write(value, address, width)
            let answer = view.read(address, width)
            broken.note(
              "a read answers more bits than it is wide", unless: answer & ~width.mask == 0)
          }
        }
      }
    }
  }
}
