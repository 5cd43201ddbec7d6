import Foundation
import PackagePlugin

/// Builds the system guests of Tests/Guests/Programs: one bare-metal image for all of them, which the
/// tests find as the resource `guests.elf`; and a program for Linux of Tests/Guests/Floats, the resource
/// `floats`. It needs nothing but the toolchain that builds the package.
@main
struct BuildGuests: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
    let programs = target.directoryURL.appending(path: "Programs")
    let swiftc = try context.tool(named: "swiftc").url
    let clang = swiftc.deletingLastPathComponent().appending(path: "clang")
    let object = context.pluginWorkDirectoryURL.appending(path: "guests.o")
    let image = context.pluginWorkDirectoryURL.appending(path: "guests.elf")
    let header = programs.appending(path: "Arch")
    let swift = try files(in: programs, ending: "swift")
    let other = try files(in: programs, ending: "S") + files(in: programs, ending: "c")
    let script = programs.appending(path: "Boot/guest.ld")
    let floats = context.pluginWorkDirectoryURL.appending(path: "floats")
    let floatsFolder = target.directoryURL.appending(path: "Floats")
    let floatsSources =
      try files(in: floatsFolder, ending: "c") + files(in: floatsFolder, ending: "S")

    return [
      .buildCommand(
        displayName: "Compiling the guests", executable: swiftc,
        arguments: [
          "-target", "x86_64-unknown-none-elf", "-enable-experimental-feature", "Embedded",
          "-swift-version", "6", "-warnings-as-errors", "-wmo", "-parse-as-library", "-Osize",
          "-I", header.path(), "-Xcc", "-mno-red-zone", "-Xfrontend", "-disable-stack-protector",
          "-Xfrontend", "-function-sections", "-module-name", "Guests",
          "-module-cache-path", context.pluginWorkDirectoryURL.appending(path: "modules").path(),
          "-c", "-o", object.path(),
        ] + swift.map { $0.path() },
        inputFiles: swift + (try files(in: header, ending: "h")), outputFiles: [object]),
      .buildCommand(
        displayName: "Linking the guests", executable: clang,
        arguments: [
          "-target", "x86_64-unknown-none-elf", "-ffreestanding", "-O2", "-mno-red-zone",
          "-fno-pic", "-nostdlib", "-static", "-fuse-ld=lld", "-Wl,--gc-sections",
          "-Wl,-T," + script.path(), object.path(), "-o", image.path(),
        ] + other.map { $0.path() },
        inputFiles: other + [object, script] + (try files(in: header, ending: "h")),
        outputFiles: [image]),
      .buildCommand(
        displayName: "Compiling the program of floating-point instructions", executable: clang,
        arguments: [
          "-target", "x86_64-unknown-linux-gnu", "-ffreestanding", "-O2", "-Wall", "-Wextra",
          "-Wno-parentheses", "-Werror", "-fno-stack-protector", "-fno-pic", "-nostdlib", "-static",
          "-fuse-ld=lld", "-o", floats.path(),
        ] + floatsSources.map { $0.path() },
        inputFiles: floatsSources + (try files(in: floatsFolder, ending: "h")),
        outputFiles: [floats]),
    ]
  }

  private func files(in folder: URL, ending: String) throws -> [URL] {
    let all = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    return (all?.compactMap { $0 as? URL } ?? [])
      .filter { $0.pathExtension == ending }
      .sorted { $0.path() < $1.path() }
  }
}
