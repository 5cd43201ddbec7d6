import Foundation
import Testing

@testable import roost

struct DebianRecipeTests {
  @Test func `the installer is asked for the kernel, the packages and the release`() throws {
    var recipe = DebianRecipe(kernel: "linux-image-cloud-amd64")
    recipe.extraPackages = ["vim"]
    let arguments = recipe.arguments(script: "/tmp/steps")
    let packages = try #require(arguments.first { $0.hasPrefix("--include=") }).dropFirst(10)
      .split(separator: ",")
    #expect(packages.contains("linux-image-cloud-amd64"))
    #expect(packages.contains("openssh-server"))
    #expect(packages.contains("vim"))
    #expect(arguments.contains("bookworm"))
    #expect(arguments.contains { $0.contains("debian-security") })
  }

  @Test func `the steps are a shell script that the shell reads`() throws {
    let script = DebianRecipe().script(
      disk: "/tmp/a disk", offset: 1 << 20, blocks: 1000, kernel: "/tmp/k", initrd: "/tmp/i")
    let file = FileManager.default.temporaryDirectory.appending(path: "roost-\(UUID()).sh")
    try script.write(to: file, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: file) }
    let status = try HostTool("sh", package: "dash").run(["-n", file.path]) { _ in }
    #expect(status == 0)
    #expect(script.contains("offset=1048576"))
    #expect(script.contains("\"/tmp/a disk\" 1000"))
  }

  @Test func `a program that the host lacks is named, with its package`() {
    #expect {
      _ = try HostTool("roost-no-such-program", package: "nothing")
    } throws: {
      "\($0)".contains("roost-no-such-program") && "\($0)".contains("apt-get install nothing")
    }
  }
}
