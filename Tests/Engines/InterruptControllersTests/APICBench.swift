import ArchitectureX86
import Board
import InterruptControllers
import Kit
import Synchronization
import Work

/// Some processors' APICs on a bench: the clock is turned by hand, and what they ask of the processors is noted.
struct APICBench {
  let clock = ManualClock()
  let loop = ManualLoop()
  let attention = RecordingAttention()
  let apics: LocalAPICs

  init(processors: Int = 2, tscFrequency: UInt64 = 1_000_000_000) {
    apics = LocalAPICs(
      processors: processors, clock: clock, loop: loop, tscFrequency: tscFrequency,
      attention: attention)
    for index in 0..<processors {
      self[index].write(0x1ff, Offset.spurious)
    }
  }

  subscript(index: Int) -> LocalAPIC { apics[index] }

  /// Sends what a guest would write to ICR.
  func sendIPI(from sender: Int, to destination: UInt32, _ low: UInt32) {
    self[sender].write(destination << 24, Offset.commandHigh)
    self[sender].write(low, Offset.commandLow)
  }

  func enterX2APIC(_ index: Int) -> Bool {
    guard let base = self[index].readMSR(X86.MSR.apicBase) else { return false }
    return self[index].writeMSR(base | 1 << 10, X86.MSR.apicBase)
  }
}

/// Offsets in the page: SDM Vol. 3A §11.4.1, Table 11-1.
enum Offset {
  static let id: UInt32 = 0x20
  static let version: UInt32 = 0x30
  static let taskPriority: UInt32 = 0x80
  static let processorPriority: UInt32 = 0xa0
  static let endOfInterrupt: UInt32 = 0xb0
  static let logicalDestination: UInt32 = 0xd0
  static let destinationFormat: UInt32 = 0xe0
  static let spurious: UInt32 = 0xf0
  static let inService: UInt32 = 0x100
  static let requested: UInt32 = 0x200
  static let errorStatus: UInt32 = 0x280
  static let commandLow: UInt32 = 0x300
  static let commandHigh: UInt32 = 0x310
  static let timer: UInt32 = 0x320
  static let lint0: UInt32 = 0x350
  static let lint1: UInt32 = 0x360
  static let error: UInt32 = 0x370
  static let initialCount: UInt32 = 0x380
  static let currentCount: UInt32 = 0x390
  static let divide: UInt32 = 0x3e0
}

final class RecordingAttention: ProcessorAttention {
  private let log = Mutex<[Int]>([])
  func attend(_ processor: Int) { log.withLock { $0.append(processor) } }
  var processors: [Int] { log.withLock { $0 } }
}

final class RecordingListener: EndOfInterruptListener {
  private let log = Mutex<[UInt8]>([])
  func endOfInterrupt(vector: UInt8) { log.withLock { $0.append(vector) } }
  var vectors: [UInt8] { log.withLock { $0 } }
}

/// Stands for the 8259 pair: always the same vector.
final class FixedAcknowledger: InterruptAcknowledger {
  let vector: UInt8
  init(vector: UInt8) { self.vector = vector }
  func acknowledge() -> UInt8 { vector }
}
