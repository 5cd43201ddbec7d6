import Glibc
import Testing

/// A folder of the host that goes with its last user, to be shared in a test. It lies in another one, `outside`, in
/// which no guest may ever see anything.
final class Folder: Sendable {
  let outside: String
  let path: String

  init() {
    var template = Array("/tmp/roost-share-XXXXXX".utf8CString)
    precondition(mkdtemp(&template) != nil)
    outside = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    path = outside + "/share"
    precondition(mkdir(path, 0o755) == 0)
  }

  deinit { Folder.clear(Array(outside.utf8CString)) }

  /// Removes a file, or a directory with all in it. Guests give names that are no text.
  private static func clear(_ path: [CChar]) {
    if unlink(path) == 0 { return }
    chmod(path, 0o700)
    for name in rawNames(path) where name != [46, 0] && name != [46, 46, 0] {
      clear(path.dropLast() + [47] + name)
    }
    rmdir(path)
  }

  /// Each with its zero.
  private static func rawNames(_ path: [CChar]) -> [[CChar]] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [[CChar]] = []
    while let entry = readdir(directory) {
      names.append(
        withUnsafePointer(to: &entry.pointee.d_name.0) {
          Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
        })
    }
    return names
  }

  static func names(_ path: String) -> [String] {
    rawNames(Array(path.utf8CString)).map { name in
      String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
  }

  func callAsFunction(_ name: String) -> String { path + "/" + name }

  func write(_ name: String, _ text: String) {
    let file = fopen(self(name), "w")!
    fputs(text, file)
    fclose(file)
  }

  func read(_ name: String) -> String? { Folder.read(self(name)) }

  static func read(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while case let count = fread(&part, 1, part.count, file), count > 0 {
      bytes += part.prefix(count)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  func makeDirectory(_ name: String) { precondition(mkdir(self(name), 0o755) == 0) }

  /// How many descriptors of this process lead into the folder.
  var descriptors: Int { openPaths().count { $0.hasPrefix(outside) } }

  func status(_ name: String) -> stat? {
    var status = stat()
    return lstat(self(name), &status) == 0 ? status : nil
  }
}

/// The memory of this process, in KiB.
func residentMemory() -> Int {
  let fields = Folder.read("/proc/self/statm")?.split(separator: " ") ?? []
  return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4 : 0
}

/// Where the descriptors of this process lead.
func openPaths() -> [String] {
  Folder.names("/proc/self/fd").compactMap { number in
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/fd/\(number)", &path, path.count)
    guard count > 0 else { return nil }
    return String(decoding: path.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
