/// The formats of images that Roost reads and writes.
package enum ImageFormat: String, Sendable, CaseIterable {
  /// The disk's bytes as they are.
  case raw
  case qcow2
}

extension ImageFormat {
  /// What an image's bytes look like. A guest that may write a raw disk can make its bytes look like anything.
  package enum Appearance: Sendable, Equatable {
    case qcow2
    /// A format that Roost does not read, by its name.
    case foreign(String)
    /// Not a disk image but a file in which one may be packed, by the name of what it was packed with.
    case packed(String)
    /// Like no format that is known here, as raw disks do.
    case none
  }

  /// How many of an image's first and last bytes `appearance` looks at.
  package static let headLength = 1024
  package static let tailLength = 512

  /// What an image looks like, from its first and last bytes: as many as there are, up to the lengths above.
  package static func appearance(head: [UInt8], tail: [UInt8] = []) -> Appearance {
    for mark in marks where mark.isIn(mark.isAtEnd ? tail : head) {
      return mark.appearance
    }
    if head.starts(with: Array("QFI".utf8) + [0xfb]), head.count >= 8 {
      let version = head[4..<8].reduce(0) { $0 << 8 | UInt32($1) }
      return version == 2 || version == 3 ? .qcow2 : .foreign("qcow version \(version)")
    }
    return .none
  }

  /// Decides in which format an image is opened.
  ///
  /// The format of an image that will be written is never guessed. A guest decides what its disk's bytes look like; a
  /// raw disk taken for a qcow2 image would name a backing file of the guest's choice, and be read from there.
  ///
  /// - Parameters:
  ///   - said: the format the user named.
  ///   - option: what the user writes before a format's name, for the sentence of a refusal.
  /// - Returns: the format; where it was not `said`, no backing file may be followed on the image's word.
  package static func choose(
    said: ImageFormat?, appearance: Appearance, writable: Bool, path: String,
    option: String = ImageOpener.formatOption
  ) throws(ImageError) -> ImageFormat {
    if let said { return said }
    let advice =
      switch appearance {
      case .qcow2: "it looks like qcow2, and if it is, say \(option)qcow2"
      case .foreign(let name): "it looks like \(name), which Roost does not read"
      case .packed(let tool): "it looks like something packed with \(tool)"
      case .none: "if its bytes are those of the disk, say \(option)raw"
      }
    if writable {
      throw .refused(
        "The format of an image that will be written is not guessed: of \"\(path)\", \(advice).")
    }
    switch appearance {
    case .qcow2: return .qcow2
    case .none: return .raw
    case .foreign, .packed:
      throw .refused(
        "\"\(path)\" cannot be opened: \(advice). If it is a raw disk, say \(option)raw.")
    }
  }
}

// MARK: - By what formats are known

/// Bytes at a fixed place.
private struct Mark: Sendable {
  let offset: Int
  let bytes: [UInt8]
  let appearance: ImageFormat.Appearance
  /// Counted from the last 512 bytes' beginning.
  let isAtEnd: Bool

  init(
    _ bytes: [UInt8], at offset: Int = 0, atEnd: Bool = false, _ appearance: ImageFormat.Appearance
  ) {
    self.bytes = bytes
    self.offset = offset
    self.appearance = appearance
    isAtEnd = atEnd
  }

  init(_ text: String, atEnd: Bool = false, _ appearance: ImageFormat.Appearance) {
    self.init(Array(text.utf8), atEnd: atEnd, appearance)
  }

  func isIn(_ content: [UInt8]) -> Bool {
    content.count >= offset + bytes.count && content[offset...].starts(with: bytes)
  }
}

private let marks: [Mark] = [
  Mark("QED\0", .foreign("QED")),
  Mark("vhdxfile", .foreign("VHDX")),
  Mark("conectix", .foreign("VHD")),
  // A fixed VHD has nothing but its last sector to show.
  Mark("conectix", atEnd: true, .foreign("VHD")),
  Mark([0x7f, 0x10, 0xda, 0xbe], at: 64, .foreign("VDI")),
  Mark("KDMV", .foreign("VMDK")),
  Mark("COWD", .foreign("VMDK")),
  Mark("# Disk DescriptorFile", .foreign("VMDK")),
  Mark(Array("LUKS".utf8) + [0xba, 0xbe], .foreign("LUKS encryption")),
  Mark("WithoutFreeSpace", .foreign("Parallels")),
  Mark("WithouFreSpacExt", .foreign("Parallels")),
  Mark("Bochs Virtual HD Image", .foreign("Bochs")),
  Mark("koly", atEnd: true, .foreign("DMG")),
  Mark([0x1f, 0x8b], .packed("gzip")),
  Mark([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], .packed("xz")),
  Mark([0x28, 0xb5, 0x2f, 0xfd], .packed("zstd")),
  Mark("BZh", .packed("bzip2")),
  Mark([0x50, 0x4b, 0x03, 0x04], .packed("zip")),
]
