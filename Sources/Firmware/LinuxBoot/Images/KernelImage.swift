/// A kernel file, told apart by what it contains, never by its name.
enum KernelImage {
  case bzImage(BzImage)
  case elf(ELFImage)
  case multiboot(MultibootHeader)

  /// Recognises a file, unpacking it if it is compressed with gzip.
  init(file: [UInt8]) throws(BootError) {
    if Gzip.isCompressed(file) {
      try self.init(plain: Gzip.unpack(file, limit: BootPlan.unpackedLimit))
    } else {
      try self.init(plain: file)
    }
  }

  private init(plain bytes: [UInt8]) throws(BootError) {
    let file = FileBytes(bytes)
    if BzImage.isRecognised(file) {
      self = try .bzImage(BzImage(file))
    } else if ELFFile.isRecognised(file) {
      self = try .elf(ELFImage(file))
    } else if let header = MultibootHeader(in: file), header.hasAddresses {
      self = .multiboot(header)
    } else {
      throw Stranger.refusal(of: file)
    }
  }

  /// What it is called in a sentence.
  var name: String {
    switch self {
    case .bzImage: "a Linux bzImage"
    case .elf(let image): "an ELF \(image.file.is64Bit ? "64" : "32")-bit image"
    case .multiboot: "a flat Multiboot image"
    }
  }

  /// The protocol to use if none is asked for.
  var preferredProtocol: BootProtocol {
    switch self {
    case .bzImage(let kernel): kernel.header.has64BitEntry ? .linux64 : .linux32
    case .elf(let kernel): kernel.preferredProtocol
    case .multiboot: .multiboot
    }
  }
}

/// An ELF kernel, with the marks of the protocols that it supports.
struct ELFImage {
  let file: ELFFile
  /// The 32-bit entry point of Xen's direct boot ABI, if it offers one.
  let pvhEntry: UInt64?
  /// The Multiboot header, if it has one.
  let multiboot: MultibootHeader?

  init(_ bytes: FileBytes) throws(BootError) {
    file = try ELFFile(bytes)
    pvhEntry = try file.pvhEntry()
    multiboot = MultibootHeader(in: bytes)
  }

  /// PVH says most about the machine; a bare 64-bit image is taken for Linux.
  var preferredProtocol: BootProtocol {
    if pvhEntry != nil { return .pvh }
    if multiboot != nil { return .multiboot }
    return .linux64
  }

  func planMultiboot(_ request: BootRequest) throws(BootError) -> BootPlan {
    guard let multiboot else {
      throw .badRequest("The kernel has no Multiboot header; leave the choice to Roost.")
    }
    return try multiboot.plan(request, elf: file)
  }
}
