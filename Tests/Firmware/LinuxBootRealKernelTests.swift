import LinuxBoot
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// Debian's own kernel files, if the environment says where they are.
struct LinuxBootRealKernelTests {
  @Test(.enabled(if: file("ROOST_TEST_KERNEL") != nil, "ROOST_TEST_KERNEL names no bzImage"))
  func `a distribution's bzImage is planned`() throws {
    var request = BootRequest.on(megabytes: 512, try #require(file("ROOST_TEST_KERNEL")))
    request.commandLine = "console=ttyS0"
    let plan = try BootPlan(request)
    #expect(plan.description.contains("bzImage"))
    #expect(plan.entry?.mode == .long64)
  }

  @Test(.enabled(if: file("ROOST_TEST_VMLINUX") != nil, "ROOST_TEST_VMLINUX names no vmlinux"))
  func `a distribution's vmlinux is planned`() throws {
    var request = BootRequest.on(megabytes: 512, try #require(file("ROOST_TEST_VMLINUX")))
    let plan = try BootPlan(request)
    #expect(plan.description.contains("PVH"))
    request.bootProtocol = .linux64
    #expect(try BootPlan(request).entry?.mode == .long64)
  }

  private static let present = ["ROOST_TEST_KERNEL", "ROOST_TEST_VMLINUX"]
    .filter { file($0) != nil }

  @Test(.enabled(if: !present.isEmpty, "no kernel is named"), arguments: present)
  func `flipped bits in the headers are planned or refused`(variable: String) throws {
    let kernel = try #require(file(variable))
    var random = Random(seed: 200)
    var request = BootRequest.on(megabytes: 512, kernel)
    for _ in 0..<500 {
      let offset = Int.random(in: 0..<0x280, using: &random)
      let bit = UInt8(1) << UInt8.random(in: 0..<8, using: &random)
      request.kernel[offset] ^= bit
      if let error = refusal({ _ = try BootPlan(request) }) {
        #expect(error.description.hasSuffix("."))
      }
      request.kernel[offset] ^= bit
    }
  }
}

/// The contents of the file that an environment variable names.
private func file(_ variable: String) -> [UInt8]? {
  guard let path = getenv(variable), let stream = fopen(path, "rb") else { return nil }
  defer { fclose(stream) }
  fseek(stream, 0, SEEK_END)
  var bytes = [UInt8](repeating: 0, count: ftell(stream))
  rewind(stream)
  guard fread(&bytes, 1, bytes.count, stream) == bytes.count else { return nil }
  return bytes
}
