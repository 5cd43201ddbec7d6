import ArchitectureX86
import ArgumentParser
import Foundation
import Testing

@testable import roost

/// `roost cpu step` and `roost cpu decode`: what a line says, and what it is answered.
struct ProcessorCommandTests {
  private let machine: StepMachine

  init() throws { machine = try StepMachine(model: .max) }

  private func ask(_ line: String) throws -> [String: Any] {
    let (text, _) = StepCommand.answer(Array(line.utf8), machine)
    return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
  }

  private func registers(_ answer: [String: Any]) -> [String: String] {
    answer["registers"] as? [String: String] ?? [:]
  }

  private func memory(_ answer: [String: Any]) -> [String: String] {
    let runs = answer["memory"] as? [[String: String]] ?? []
    return Dictionary(uniqueKeysWithValues: runs.map { ($0["address"] ?? "", $0["bytes"] ?? "") })
  }

  private func error(_ line: String) throws -> String? { try ask(line)["error"] as? String }

  // MARK: - Step

  @Test func `an instruction changes what it changes, and 64 bits lose none`() throws {
    let answer = try ask(
      """
      {"id":7,"mode":"long64","registers":{"rax":18446744073709551614,"rip":"0x1000"},
       "memory":[{"address":4096,"bytes":"48 ff c0"}]}
      """)
    #expect(answer["id"] as? Int == 7 && answer["executed"] as? Int == 1)
    #expect(answer["exception"] is NSNull && answer["flags"] as? String == "0x86")
    #expect(
      registers(answer)["rax"] == "0xffffffffffffffff" && registers(answer)["rip"] == "0x1003")
    #expect(memory(answer) == ["0x1000": "48ffc0"])
  }

  @Test func `an answer is a line that may be asked again`() throws {
    let line = """
      {"registers":{"rax":5,"rsp":"0x7fff00001000","rip":"0x400000","xmm3":"0x1","st0":"0x3fff8000000000000000"},
       "flags":"0x246","segments":{"cs":"0x33"},"memory":{"0x400000":"90"}}
      """
    let (first, isGood) = StepCommand.answer(Array(line.utf8), machine)
    #expect(isGood)
    let again = first.replacing("\"rip\":\"0x400001\"", with: "\"rip\":\"0x400000\"")
    #expect(again != first)
    #expect(StepCommand.answer(Array(again.utf8), machine) == (first, true))
  }

  @Test func `nothing of a line is left for the next`() throws {
    // mov [rdi], rax far above RAM, and in it.
    for address in ["0x200000", "0xffff800000000000"] {
      let store = """
        {"registers":{"rax":"0x1122334455667788","rdi":"\(address)"},"memory":[[0,"488907"],["\(address)","00"]]}
        """
      #expect(memory(try ask(store))[address] == "8877665544332211")
    }
    let load = #"{"registers":{"rdi":"0x200000"},"memory":[[0,"488b07"]]}"#
    #expect(registers(try ask(load))["rax"] == "0x0")
    let absent = try ask(#"{"registers":{"rdi":"0xffff800000000000"},"memory":[[0,"488b07"]]}"#)
    let exception = absent["exception"] as? [String: Any]
    #expect(exception?["vector"] as? Int == 14 && exception?["errorCode"] as? Int == 0)
    #expect(registers(absent)["cr2"] == "0xffff800000000000" && registers(absent)["rip"] == "0x0")
  }

  @Test func `an exception is shown, or delivered where that is asked for`() throws {
    let divide =
      #""mode":"real16","registers":{"ss":"0x200","sp":"0x100"},"memory":{"0":"f7f1","0x4":"0000"}"#
    let held = try ask("{\(divide)}")
    let exception = held["exception"] as? [String: Any]
    #expect(exception?["name"] as? String == "#DE" && exception?["errorCode"] is NSNull)
    #expect(held["executed"] as? Int == 0 && registers(held)["rsp"] == "0x100")
    let delivered = try ask("{\"deliver\":true,\(divide)}")
    // The vector's entry is the instruction's own bytes and what lies behind them.
    #expect(registers(delivered)["rip"] == "0xf1f7" && registers(delivered)["rsp"] == "0xfa")
  }

  @Test func `a vector of a test suite starts in real mode`() throws {
    let answer = try ask(
      """
      {"name":"40","bytes":[64],"initial":{"regs":{"ax":1,"cs":256,"ip":0,"ss":0,"sp":0,"flags":61442},
       "ram":[[4096,64]],"queue":[]},"final":{"regs":{"ax":2}},"cycles":[]}
      """)
    #expect(answer["mode"] as? String == "real16" && registers(answer)["rax"] == "0x2")
  }

  @Test func `segments are what their selectors say`() throws {
    // A descriptor of base 0x10000, limit 0xfff, in a table at 0x800.
    let answer = try ask(
      """
      {"mode":"prot32","gdtr":{"base":"0x800","limit":"0x2f"},"segments":{"ds":"0x28"},
       "memory":[["0x828","ff0f000001934000"],["0x10004","2a"],[0,"a004000000"]]}
      """)
    #expect(registers(answer)["rax"] == "0x2a")
    let ds = (answer["segments"] as? [String: [String: String]])?["ds"]
    #expect(
      ds == ["selector": "0x28", "base": "0x10000", "limit": "0xfff", "attributes": "0x4093"])
  }

  @Test func `several instructions end at a halt`() throws {
    let answer = try ask(#"{"count":10,"memory":{"0":"9090f490"}}"#)
    #expect(answer["executed"] as? Int == 3 && answer["halted"] as? Bool == true)
  }

  @Test func `a model has its own instructions`() throws {
    let rdtsc = #""mode":"prot32","memory":{"0":"0f31"}"#
    let exception = try ask("{\"model\":\"486\",\(rdtsc)}")["exception"] as? [String: Any]
    #expect(exception?["vector"] as? Int == 6)
    #expect(try ask("{\"model\":\"pentium3\",\(rdtsc)}")["exception"] is NSNull)
  }

  @Test(arguments: [
    (#"{"a":1}"#, "\"a\""), (#"{"a":"#, "byte 6"), ("[1]", "not a JSON object"),
    ("{} {}", "more follows"),
    (#"{"mode":"x"}"#, "real16"), (#"{"registers":{"rax":18446744073709551616}}"#, "64 bits"),
    (#"{"registers":{"eax":"0x100000000"}}"#, "32 bits"), (#"{"registers":{"raz":1}}"#, "raz"),
    (#"{"registers":{"xmm0":"0x1g"}}"#, "xmm0"), (#"{"memory":[[0,"123"]]}"#, "bytes"),
    (#"{"memory":[[0]]}"#, "pair"), (#"{"flags":2,"eflags":3}"#, "different flags"),
    (#"{"model":"z80"}"#, "z80"), (#"{"mode":"prot32","memory":[["0x100000000","00"]]}"#, "4 GiB"),
    (#"{"memory":[["0x800000000000","00"]]}"#, "canonical"),
    (#"{"cr0":"0x80000000"}"#, "contradict"),
    (#"{"rax":1,"rax":2}"#, "twice"), (#"{"segments":{"cs":{"size":1}}}"#, "size"),
  ])
  func `a bad line is answered by what is wrong with it`(_ line: String, _ word: String) throws {
    #expect(try error(line)?.contains(word) == true)
    #expect(StepCommand.answer(Array(line.utf8), machine).isGood == false)
  }

  @Test func `values that nest without end are refused`() throws {
    let deep = String(repeating: "[", count: 100_000)
    #expect(try error("{\"memory\":\(deep)")?.contains("nest too deep") == true)
  }

  // MARK: - Decode

  private func decode(_ line: String, _ mode: StepRequest.Mode = .long64) -> String {
    DecodeCommand.answer(Array(line.utf8), mode, .max).text
  }

  @Test func `bytes are named`() {
    #expect(
      decode("48 ff c0 90")
        == #"{"bytes":"48ffc0","length":3,"prefixes":[],"mnemonic":"inc","operands":["rax"],"text":"inc rax"}"#
    )
    #expect(decode("ffc0", .real16).contains(#""text":"inc ax""#))
    #expect(
      decode(#"{"bytes":"ebfe","address":"0x1000","mode":"prot32"}"#).contains(
        #""operands":["0x1000"]"#))
    #expect(decode("0f04").contains("illegal"))
    #expect(decode("48").contains("end before"))
    #expect(decode(String(repeating: "66", count: 16)).contains("longer than 15"))
    #expect(decode("4g").contains("hexadecimal"))
    #expect(decode(#"{"bytes":"0f31","model":"486"}"#).contains("illegal"))
  }

  @Test func `options are checked`() {
    #expect(throws: (any Error).self) {
      try RoostCommand.parseAsRoot(["cpu", "step", "--cpu", "z80"])
    }
    #expect(throws: (any Error).self) {
      try RoostCommand.parseAsRoot(["cpu", "decode", "--mode", "x"])
    }
  }
}
