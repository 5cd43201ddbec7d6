import Glibc

/// A folder for one input, beside a file that no guest may reach.
struct ScratchFolder {
  /// The folder: empty, at first.
  let path: String
  private let outside: String

  init() {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/roost-fuzz-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { fatalError("No folder can be made in \(parent).") }
    outside = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    path = outside + "/share"
    guard mkdir(path, 0o755) == 0 else { fatalError("No folder can be made in \(outside).") }
    Self.write(0, to: outside + "/secret")
  }

  /// Puts a file there, of so many zeroes.
  func write(_ name: String, count: Int) { Self.write(count, to: path + "/" + name) }

  private static func write(_ count: Int, to path: String) {
    let file = open(path, O_CREAT | O_WRONLY, 0o644)
    guard file >= 0, ftruncate(file, count) == 0 else { fatalError("\(path) cannot be made.") }
    close(file)
  }

  /// How many descriptors of this process lead into it.
  var openDescriptors: Int {
    Self.names("/proc/self/fd").count { number in
      var target = [UInt8](repeating: 0, count: 256)
      let count = readlink("/proc/self/fd/" + number, &target, target.count)
      return count > 0 && target.prefix(count).starts(with: outside.utf8)
    }
  }

  /// Whether nothing came of it outside.
  var isContained: Bool {
    var status = stat()
    return lstat(outside + "/secret", &status) == 0 && status.st_size == 0
      && Set(Self.names(outside)) == ["share", "secret"]
  }

  func remove() { Self.remove(outside) }

  private static func remove(_ path: String) {
    if unlink(path) == 0 { return }
    chmod(path, 0o755)
    for name in names(path) { remove(path + "/" + name) }
    rmdir(path)
  }

  private static func names(_ path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name.0) { String(cString: $0) }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }
}
