import LinuxBoot
import Testing

/// What people pass for a kernel by mistake.
struct LinuxBootStrangerTests {
  @Test(arguments: [
    ("", 0, "empty"), ("hello", 0, "only 5 bytes"), ("QFI\u{FB}", 0, "qcow2"),
    ("070701", 0, "--initrd"), ("!<arch>\ndebian-binary", 0, "dpkg-deb"),
    ("MZ", 0, "without a Linux setup header"), ("ARM\u{64}", 0x38, "AArch64"),
    ("#!/bin/sh", 0, "script"), ("<!DOCTYPE html>", 0, "download"), ("CD001", 0x8001, "ISO 9660"),
  ])
  func `the refusal says what it is`(signature: String, offset: Int, words: String) {
    var file: [UInt8] = []
    if !signature.isEmpty {
      file = Array(repeating: 0, count: signature == "hello" ? 0 : offset)
      file += signature.unicodeScalars.map { UInt8($0.value) }
      if signature != "hello" { file += Array(repeating: 0, count: 0x2000) }
    }
    let error = refusal { _ = try BootPlan(.on(file)) }
    #expect(error?.kind == .notAKernel)
    #expect(error?.description.contains(words) == true, "\(String(describing: error))")
  }

  @Test(arguments: [
    ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00], "xz -dc"), ([0x28, 0xB5, 0x2F, 0xFD], "zstd -dc"),
    ([0x04, 0x22, 0x4D, 0x18], "lz4 -dc"), ([0x42, 0x5A, 0x68], "bzip2 -dc"),
  ])
  func `a compressed kernel is refused with the command that unpacks it`(
    signature: [UInt8], words: String
  ) {
    let file = signature + Array(repeating: 0, count: 0x2000)
    #expect(refusal { _ = try BootPlan(.on(file)) }?.description.contains(words) == true)
  }

  @Test func `anything else is refused with its first bytes`() {
    let file = [UInt8](repeating: 0xA5, count: 0x2000)
    #expect(refusal { _ = try BootPlan(.on(file)) }?.description.contains("a5 a5 a5 a5") == true)
  }
}
