import Glibc
import HostOS
import Synchronization

/// A share in which a host thread keeps exchanging names: `d`, a directory with a file `f`, and `f`, a file, change
/// places with links to a vault outside, in which a file `f` has what no guest may read.
final class Stage: Sendable {
  let folder: Folder
  private let play: Play
  private let thread: HostOS.Thread

  private final class Play: Sendable {
    let isOver = Atomic(false)
    let exchanges = Atomic(0)
  }

  init() throws {
    let folder = Folder()
    let play = Play()
    precondition(mkdir(folder.outside + "/vault", 0o755) == 0)
    let secret = fopen(folder.outside + "/vault/f", "w")!
    fputs("SECRET", secret)
    fclose(secret)
    folder.makeDirectory("d")
    folder.write("d/f", "inside")
    folder.write("f", "inside")
    // One link that begins at the top, one that goes up.
    precondition(symlink(folder.outside + "/vault", folder("other d")) == 0)
    precondition(symlink("../vault/f", folder("other f")) == 0)
    let root = try HostDirectory(path: folder.path, isReadOnly: false).root()
    thread = try HostOS.Thread(name: "exchanger") {
      while !play.isOver.load(ordering: .relaxed) {
        for name in ["d", "f"] {
          let (one, other) = (HostName(Array(name.utf8))!, HostName(Array("other \(name)".utf8))!)
          try? root.rename(one, to: root, as: other, .exchange)
        }
        play.exchanges.add(1, ordering: .relaxed)
      }
    }
    self.folder = folder
    self.play = play
  }

  /// Ends the exchanges; answers how many there were.
  func end() -> Int {
    play.isOver.store(true, ordering: .relaxed)
    thread.join()
    return play.exchanges.load(ordering: .relaxed)
  }

  /// Whether nothing came of it outside.
  var isContained: Bool {
    Folder.read(folder.outside + "/vault/f") == "SECRET"
      && Set(Folder.names(folder.outside + "/vault")) == [".", "..", "f"]
      && Set(Folder.names(folder.outside)) == [".", "..", "share", "vault"]
  }
}
