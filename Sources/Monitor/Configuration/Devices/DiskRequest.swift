import Disks

/// A disk that the user asks for.
package struct DiskRequest: Sendable, Codable, Equatable {
  package enum Format: String, Sendable, Codable, CaseIterable { case raw, qcow2 }
  package enum Overlay: String, Sendable, Codable, CaseIterable { case memory }
  /// How the host's page cache is used, and what a flush means.
  package enum Cache: String, Sendable, Codable, CaseIterable {
    case writeback, writethrough, direct, unsafe
  }
  /// What becomes of a request that finds the host's storage full.
  package enum Full: String, Sendable, Codable, CaseIterable {
    /// The guest hears of an I/O error.
    case report
    /// It waits until there is room, and the guest with it.
    case wait
  }

  package var path: String
  package var format: Format
  package var isReadOnly: Bool
  /// Where the guest's writes go instead of the file.
  package var overlay: Overlay?
  package var cache: Cache
  /// `nil`, as in machines that were saved before there was a choice: `report`.
  package var full: Full?
  /// What the guest reads as the disk's serial number.
  package var serial: String?
  package var queues: Int
  package var bus: DeviceBus

  private static let keys =
    "path=, format=, readonly=, overlay=, cache=, full=, serial=, queues= and bus="

  /// Reads `path=FILE[,format=raw|qcow2][,readonly=on][,overlay=memory][,cache=…][,full=…][,serial=TEXT][,queues=N]
  /// [,bus=…]`.
  ///
  /// The format is what `format=` says, or what the file's name ends in. The content is never asked: a guest that can
  /// write to a raw disk could make it look like another format.
  package init(parsing text: String) throws(ConfigurationError) {
    var values = try KeyValues(parsing: text)
    path = try values.require("path", "debian.qcow2")
    let isReadOnly = try values.takeSwitch("readonly") ?? false
    overlay = try values.takeCase("overlay", Overlay.self)
    cache = try values.takeCase("cache", Cache.self) ?? .writeback
    full = try values.takeCase("full", Full.self)
    queues = try values.takeNumber("queues", 1...64) ?? 1
    bus = try values.takeBus() ?? .pci
    serial = try values.take("serial")
    guard let format = try values.takeCase("format", Format.self) ?? Self.format(ofName: path)
    else {
      throw ConfigurationError(
        text, "The file's name does not tell its format: add format=raw or format=qcow2.")
    }
    self.format = format
    self.isReadOnly = isReadOnly
    try values.end(known: Self.keys)
    guard serial.map({ $0.utf8.count <= 20 && $0.allSatisfy(\.isASCII) }) ?? true else {
      throw ConfigurationError(text, "A serial number has at most 20 characters of ASCII.")
    }
    guard overlay == nil || !isReadOnly else {
      throw ConfigurationError(
        text, "A disk with an overlay can be written to: leave out readonly=on.")
    }
  }

  /// Said by the file's name.
  private static func format(ofName path: String) -> Format? {
    ImageFormat(named: path).flatMap { Format(rawValue: $0.rawValue) }
  }
}
