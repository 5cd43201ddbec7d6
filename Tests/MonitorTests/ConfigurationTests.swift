import ArchitectureX86
import Monitor
import Testing

struct ConfigurationTests {
  @Test(arguments: [
    ("512M", 512 << 20), ("4G", 4 << 30), ("4GiB", 4 << 30), ("1t", 1 << 40), ("64k", 64 << 10),
    ("2048MiB", 2 << 30),
  ])
  func `an amount of memory is a number and a binary unit`(_ text: String, _ bytes: Int) throws {
    #expect(try MemorySize(parsing: text).bytes == UInt64(bytes))
  }

  @Test(arguments: [
    "512", "", "M", "4GB", "-1G", "1.5G", "4 G", "99999999999999999999G", "20000000T",
  ])
  func `anything else is refused with a sentence that says what to write`(_ text: String) {
    let error = #expect(throws: ConfigurationError.self) { try MemorySize(parsing: text) }
    #expect(error?.reason.hasSuffix(".") == true)
  }

  @Test func `a number without a unit is refused with a hint`() {
    let error = #expect(throws: ConfigurationError.self) { try MemorySize(parsing: "512") }
    #expect(error?.reason.contains("512M") == true)
  }

  @Test func `serial targets are read by their kind`() throws {
    #expect(try SerialTarget(parsing: "stdio") == .stdio)
    #expect(try SerialTarget(parsing: "file:/tmp/a:b") == .file(path: "/tmp/a:b"))
    #expect(try SerialTarget(parsing: "unix:s") == .unix(path: "s"))
    #expect(try SerialTarget(parsing: "null") == .null)
    for text in ["", "file", "file:", "tcp:1", "null:x"] {
      #expect(throws: ConfigurationError.self) { try SerialTarget(parsing: text) }
    }
  }

  @Test func `engines are read by their names`() throws {
    #expect(try EngineChoice(parsing: "auto") == .auto)
    #expect(try EngineChoice(parsing: "auto:any-kvm") == .autoAnyKVM)
    #expect(try EngineChoice(parsing: "kvm") == .kvm)
    #expect(try EngineChoice(parsing: "software") == .software)
    #expect(try EngineChoice(parsing: "software:translator") == .software)
    #expect(try EngineChoice(parsing: "software:interpreter") == .interpreter)
    for text in ["", "KVM", "mshv", "auto:kvm", "software:jit"] {
      let error = #expect(throws: ConfigurationError.self) { try EngineChoice(parsing: text) }
      #expect(error?.reason.contains("auto:any-kvm") == true)
    }
  }

  @Test(arguments: [(0, 64), (65, 64), (1, 1), (1, 1 << 20)])
  func `a machine that cannot be is refused`(_ processors: Int, _ mebibytes: Int) {
    let configuration = VMConfiguration(
      memory: MemorySize(bytes: UInt64(mebibytes) << 20), processors: processors, boot: .rom([]))
    #expect(throws: ConfigurationError.self) { try PCShape(configuration) }
  }

  @Test func `a machine's processors count at the frequency that its shape names`() throws {
    var configuration = VMConfiguration(memory: MemorySize(bytes: 64 << 20), boot: .rom([]))
    configuration.model.tscFrequency = 2_596_126_000
    var shape = try PCShape(configuration)
    #expect(shape.tscFrequency == 2_596_126_000)
    #expect(shape.processorModel.tscFrequency == 2_596_126_000)
    shape.tscFrequency = nil
    #expect(shape.processorModel.tscFrequency == 1_000_000_000)
    for wrong: UInt64 in [0, 9_999_999, 10_000_000_001, .max] {
      shape.tscFrequency = wrong
      #expect(shape.problem != nil)
    }
  }
}
