import ACPI
import Foundation
import Testing

/// The tables as ACPICA's own compiler reads them: each is disassembled and compiled again.
@Suite(.enabled(if: Tool.iasl != nil, "iasl (Debian package acpica-tools) is not installed"))
struct ACPICompilerTests {
  @Test(arguments: SampleMachine.allCases)
  func `iasl disassembles and recompiles every table without complaint`(
    _ machine: SampleMachine
  ) throws {
    let iasl = try #require(Tool.iasl)
    let folder = try TemporaryFolder()
    for table in machine.description.tables.tables {
      let binary = folder.file("\(table.signature).aml")
      try Data(table.bytes).write(to: binary)
      let disassembly = try iasl.run("-d", binary.path)
      #expect(disassembly.status == 0, "\(disassembly.output)")
      #expect(!disassembly.output.contains("Warning") && !disassembly.output.contains("Error"))

      let source = folder.file("\(table.signature).dsl"), again = folder.file("again")
      let compilation = try iasl.run("-p", again.path, source.path)
      #expect(compilation.status == 0, "\(compilation.output)")
      #expect(
        compilation.output.contains("0 Errors, 0 Warnings, 0 Remarks"), "\(compilation.output)")
    }
  }

  /// But for the header, which names the compiler, the compiler writes the bytes that we write.
  @Test(arguments: SampleMachine.allCases)
  func `iasl gives the namespace back byte for byte`(_ machine: SampleMachine) throws {
    let iasl = try #require(Tool.iasl)
    let folder = try TemporaryFolder()
    let binary = folder.file("dsdt.aml"), again = folder.file("again")
    let bytes = machine.description.tables.bytes(of: "DSDT")
    try Data(bytes).write(to: binary)
    _ = try iasl.run("-d", binary.path)
    _ = try iasl.run("-oa", "-p", again.path, folder.file("dsdt.dsl").path)
    let compiled = try Data(contentsOf: folder.file("again.aml"))
    let isSame = compiled.dropFirst(36).elementsEqual(bytes.dropFirst(36))
    #expect(isSame)
  }
}
