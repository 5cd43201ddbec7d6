/// Files that are no kernel we can start, but that people pass for one: recognised so that the
/// refusal can say what to do instead.
enum Stranger {
  /// Why `file`, which is no kernel, is refused.
  static func refusal(of file: FileBytes) -> BootError {
    if file.count == 0 { return .notAKernel("The kernel file is empty.") }
    if let known = signatures.first(where: { file.has($0.bytes, at: $0.offset) }) {
      return .notAKernel("The kernel file is \(known.sentence).")
    }
    if file.count < 0x1000 {
      return .notAKernel("The kernel file has only \(file.count) bytes, too few for a kernel.")
    }
    return .notAKernel(
      "The kernel file is neither a Linux bzImage nor an ELF or Multiboot kernel; its first bytes "
        + "are \(firstBytes(of: file)).")
  }

  private static func firstBytes(of file: FileBytes) -> String {
    (file.slice(ifPresentAt: 0, count: 4) ?? [])
      .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }

  private struct Signature {
    let offset: UInt64
    let bytes: [UInt8]
    let sentence: String

    init(_ bytes: [UInt8], at offset: UInt64 = 0, _ sentence: String) {
      self.offset = offset
      self.bytes = bytes
      self.sentence = sentence
    }
    init(_ text: String, at offset: UInt64 = 0, _ sentence: String) {
      self.init(Array(text.utf8), at: offset, sentence)
    }
  }

  /// In the order of trial: the more specific first.
  private static let signatures: [Signature] = [
    // Kernels of other sorts and for other machines.
    .init("ARM\u{64}", at: 0x38, "an AArch64 Linux Image; this machine is an x86-64 PC"),
    .init("RSC\u{05}", at: 0x38, "a RISC-V Linux Image; this machine is an x86-64 PC"),
    .init("zimg", at: 4, "an EFI application with a compressed kernel inside (zboot)"),
    .init([0x27, 0x05, 0x19, 0x56], "a U-Boot image; unpack the kernel from it with dumpimage"),
    .init("ANDROID!", "an Android boot image; unpack the kernel from it with unpack_bootimg"),
    .init([0xD0, 0x0D, 0xFE, 0xED], "a device tree or U-Boot FIT image, not a kernel"),
    .init("MZ", "an EFI or Windows application without a Linux setup header"),
    // Compressed files.
    .init([0x1F, 0x8B], "compressed with gzip twice; unpack it first with: gzip -dc"),
    .init([0xFD, 0x37, 0x7A, 0x58, 0x5A], "compressed with xz; unpack it first with: xz -dc"),
    .init([0x28, 0xB5, 0x2F, 0xFD], "compressed with zstd; unpack it first with: zstd -dc"),
    .init([0x04, 0x22, 0x4D, 0x18], "compressed with lz4; unpack it first with: lz4 -dc"),
    .init([0x02, 0x21, 0x4C, 0x18], "compressed with lz4; unpack it first with: lz4 -dc"),
    .init("BZh", "compressed with bzip2; unpack it first with: bzip2 -dc"),
    .init([0x89, 0x4C, 0x5A, 0x4F], "compressed with lzop; unpack it first with: lzop -dc"),
    .init([0x5D, 0x00, 0x00], "compressed with lzma; unpack it first with: xz -dc --format=lzma"),
    // Packages and archives.
    .init("!<arch>\ndebian-binary", "a Debian package; take boot/vmlinuz out with: dpkg-deb -x"),
    .init("!<arch>", "an ar archive or static library, not a kernel"),
    .init([0xED, 0xAB, 0xEE, 0xDB], "an RPM package; take the vmlinuz out of it first"),
    .init("PK\u{03}\u{04}", "a zip archive, not a kernel"),
    .init("ustar", at: 0x101, "a tar archive, not a kernel"),
    .init("070701", "a cpio archive, as initial RAM disks are; give it with --initrd"),
    .init("070702", "a cpio archive, as initial RAM disks are; give it with --initrd"),
    // Disks.
    .init([0x51, 0x46, 0x49, 0xFB], "a qcow2 disk image, not a kernel"),
    .init("KDMV", "a VMDK disk image, not a kernel"),
    .init("vhdxfile", "a VHDX disk image, not a kernel"),
    .init("conectix", "a VHD disk image, not a kernel"),
    .init("EFI PART", at: 0x200, "a disk image with a GPT, not a kernel"),
    .init("CD001", at: 0x8001, "a CD image (ISO 9660), not a kernel; take the kernel out of it"),
    .init("hsqs", "a squashfs file system, not a kernel"),
    .init([0x53, 0xEF], at: 0x438, "an ext2, ext3 or ext4 file system, not a kernel"),
    .init([0x55, 0xAA], at: 0x1FE, "a boot sector or disk image, not a kernel"),
    // Text.
    .init("#!", "a script, not a kernel"),
    .init("<", "a text in HTML or XML, not a kernel: did the download fail?"),
  ]
}
