import Board

extension UART16550 {
  /// The registers by address; what the first two hold depends on the divisor latch access bit.
  ///
  /// - SeeAlso: PC16550D §8.0, table II "Summary of Registers".
  enum Register: UInt8 {
    /// RBR when read, THR when written; DLL.
    case data
    /// IER; DLM.
    case interruptEnable
    /// IIR when read, FCR when written.
    case interruptIdentification
    case lineControl
    case modemControl
    case lineStatus
    case modemStatus
    case scratch

    init(_ access: Access) throws(IOError) {
      guard access.width == .byte else { throw .unsupportedWidth }
      guard let offset = UInt8(exactly: access.offset), let register = Self(rawValue: offset)
      else { throw .noSuchRegister }
      self = register
    }
  }

  /// IER: PC16550D §8.7 "Interrupt Enable Register".
  struct InterruptEnable: OptionSet, Sendable {
    let rawValue: UInt8
    static let receivedData = Self(rawValue: 1 << 0)
    static let transmitterEmpty = Self(rawValue: 1 << 1)
    static let lineStatus = Self(rawValue: 1 << 2)
    static let modemStatus = Self(rawValue: 1 << 3)
    static let all: Self = [receivedData, transmitterEmpty, lineStatus, modemStatus]
  }

  /// The low four bits of IIR: PC16550D §8.6 "Interrupt Identification Register", table IV. From the
  /// most to the least urgent.
  enum InterruptSource: UInt8 {
    case lineStatus = 0b0110
    case receivedData = 0b0100
    case characterTimeout = 0b1100
    case transmitterEmpty = 0b0010
    case modemStatus = 0b0000

    /// What IIR holds when no interrupt is pending.
    static let none: UInt8 = 0b0001
  }

  /// FCR: PC16550D §8.5 "FIFO Control Register".
  struct FIFOControl: OptionSet, Sendable {
    let rawValue: UInt8
    static let enabled = Self(rawValue: 1 << 0)
    static let resetReceiver = Self(rawValue: 1 << 1)
    static let resetTransmitter = Self(rawValue: 1 << 2)
    static let dmaMode = Self(rawValue: 1 << 3)
    static let trigger = Self(rawValue: 0b11 << 6)
    /// The bits that stay; the two resets clear themselves.
    static let kept: Self = [enabled, dmaMode, trigger]

    /// How many bytes in the receiver make an interrupt.
    var triggerLevel: Int {
      switch rawValue >> 6 {
      case 0: 1
      case 1: 4
      case 2: 8
      default: 14
      }
    }
  }

  /// LCR: PC16550D §8.1 "Line Control Register". The format of a character means nothing here.
  struct LineControl: OptionSet, Sendable {
    let rawValue: UInt8
    static let divisorLatchAccess = Self(rawValue: 1 << 7)
  }

  /// MCR: PC16550D §8.8 "Modem Control Register".
  struct ModemControl: OptionSet, Sendable {
    let rawValue: UInt8
    static let dataTerminalReady = Self(rawValue: 1 << 0)
    static let requestToSend = Self(rawValue: 1 << 1)
    static let out1 = Self(rawValue: 1 << 2)
    static let out2 = Self(rawValue: 1 << 3)
    static let loopback = Self(rawValue: 1 << 4)
    static let all: Self = [dataTerminalReady, requestToSend, out1, out2, loopback]
  }

  /// LSR: PC16550D §8.4 "Line Status Register".
  struct LineStatus: OptionSet, Sendable {
    let rawValue: UInt8
    static let dataReady = Self(rawValue: 1 << 0)
    static let overrunError = Self(rawValue: 1 << 1)
    static let transmitterHoldingRegisterEmpty = Self(rawValue: 1 << 5)
    static let transmitterEmpty = Self(rawValue: 1 << 6)
  }

  /// MSR: PC16550D §8.9 "Modem Status Register".
  struct ModemStatus: OptionSet, Sendable {
    let rawValue: UInt8
    static let clearToSendChanged = Self(rawValue: 1 << 0)
    static let dataSetReadyChanged = Self(rawValue: 1 << 1)
    static let ringIndicatorEnded = Self(rawValue: 1 << 2)
    static let carrierDetectChanged = Self(rawValue: 1 << 3)
    static let clearToSend = Self(rawValue: 1 << 4)
    static let dataSetReady = Self(rawValue: 1 << 5)
    static let ringIndicator = Self(rawValue: 1 << 6)
    static let carrierDetect = Self(rawValue: 1 << 7)
    static let changes: Self = [
      clearToSendChanged, dataSetReadyChanged, ringIndicatorEnded, carrierDetectChanged,
    ]
  }
}
