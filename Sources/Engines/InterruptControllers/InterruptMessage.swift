import Board

/// What an interrupt does to the processor that takes it.
///
/// - SeeAlso: Intel SDM Vol. 3A §11.6.1 "Interrupt Command Register (ICR)", delivery mode.
enum DeliveryMode: UInt8, Sendable {
  case fixed = 0
  case lowestPriority = 1
  case smi = 2
  case nmi = 4
  case initialise = 5
  case startUp = 6
  case externalInterrupt = 7
}

/// An interrupt on its way between APICs: an IPI, or the message of a device or an I/O APIC.
struct InterruptMessage: Sendable, Equatable {
  /// Whom it is for.
  ///
  /// - SeeAlso: Intel SDM Vol. 3A §11.6.2 "Determining IPI Destination".
  enum Destination: Sendable, Equatable {
    case all
    case allExcept(UInt32)
    case physical(UInt32)
    /// A message destination address, compared with each APIC's logical ID.
    case logical(UInt32)
  }

  var mode: DeliveryMode
  var vector: UInt8
  var isLevelTriggered = false
  var destination: Destination

  /// Whether only one of those addressed is to take it.
  var isArbitrated: Bool { mode == .lowestPriority }
}

extension InterruptMessage {
  /// Reads a device's message; `nil` if it is not for an APIC, or asserts nothing.
  ///
  /// - SeeAlso: Intel SDM Vol. 3A §11.11 "Message Signalled Interrupts".
  /// - Note: The destination mode counts whatever the redirection hint says, as chipsets and guests have it.
  init?(_ message: MSI) {
    guard message.address >> 20 == 0xfee,
      let mode = DeliveryMode(rawValue: UInt8(message.data >> 8 & 7))
    else { return nil }
    let isLevel = message.data & 1 << 15 != 0
    let isAsserted = message.data & 1 << 14 != 0
    guard !isLevel || isAsserted else { return nil }
    let target = UInt32(truncatingIfNeeded: message.address >> 12) & 0xff
    let isLogical = message.address & 1 << 2 != 0
    let isRedirectable = message.address & 1 << 3 != 0
    self.mode = mode == .fixed && isRedirectable ? .lowestPriority : mode
    vector = UInt8(truncatingIfNeeded: message.data)
    isLevelTriggered = isLevel
    destination =
      isLogical ? .logical(target) : target == 0xff ? .all : .physical(target)
  }

  /// Reads what a processor wrote to its interrupt command register; `nil` if that sends nothing.
  ///
  /// - Parameters:
  ///   - sender: the APIC ID of that processor.
  ///   - isWide: whether the destination has 32 bits, as in x2APIC mode, or the upper eight of them.
  init?(_ command: InterruptCommand, from sender: UInt32, isWide: Bool) {
    guard let mode = command.deliveryMode, mode != .externalInterrupt else { return nil }
    // INIT level de-assert: it only ever synchronised arbitration IDs (§11.6.1, "Level").
    if mode == .initialise, command.isLevelTriggered, !command.isAsserted { return nil }
    self.mode = mode
    vector = command.vector
    let everyone: UInt32 = isWide ? 0xffff_ffff : 0xff
    let target = isWide ? command.destination : command.destination >> 24
    switch command.shorthand {
    case .none where command.isLogical: destination = .logical(target)
    case .none: destination = target == everyone ? .all : .physical(target)
    case .itself: destination = .physical(sender)
    case .all: destination = .all
    case .allExceptItself: destination = .allExcept(sender)
    }
  }
}
