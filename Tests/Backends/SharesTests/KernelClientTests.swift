import Glibc
import HostOS
import Testing

@testable import Shares

/// The host's own kernel as the client, through /dev/fuse: it speaks as a guest's does. It needs root, and a mount is
/// seen by the whole host, so it is done when asked for.
@Suite(
  .enabled(if: getenv("ROOST_TEST_FUSE_MOUNT") != nil, "ROOST_TEST_FUSE_MOUNT is not set"))
struct `Linux as a FUSE client` {
  let folder = Folder()

  /// Answers the kernel until it unmounts.
  private func serve(_ device: Int32, _ server: FUSEServer) {
    var request = [UInt8](repeating: 0, count: 1 << 20 + 4096)
    while true {
      let count = read(device, &request, request.count)
      if count < 0, errno == EINTR || errno == ENOENT { continue }
      guard count > 0 else { return }
      let answer = server.answer(Array(request.prefix(count)), room: 1 << 20 + 4096)
      if !answer.isEmpty { _ = write(device, answer, answer.count) }
    }
  }

  @Test func `works in a shared directory as in any other`() throws {
    let point = folder.outside + "/mounted"
    try #require(mkdir(point, 0o755) == 0)
    let device = open("/dev/fuse", O_RDWR | O_CLOEXEC)
    try #require(device >= 0)
    let options = "fd=\(device),rootmode=40000,user_id=0,group_id=0,default_permissions"
    try #require(mount("roost", point, "fuse", 0, options) == 0)
    let server = try FUSEServer(SharePlan(path: folder.path))
    let threads = try (0..<2).map { number in
      try HostOS.Thread(name: "fuse \(number)") { serve(device, server) }
    }
    let script = """
      set -eux; cd '\(point)'
      mkdir -p a/b/c; echo hello > a/b/c/f; test "$(cat a/b/c/f)" = hello
      ln -s b/c/f a/link; test "$(cat a/link)" = hello; ln a/b/c/f a/hard
      test "$(stat -c %h a/hard)" = 2; mv a/hard a/b/moved; chmod 600 a/b/moved
      test "$(stat -c %a a/b/c/f)" = 600; touch -d @77 a/b/c/f; test "$(stat -c %Y a/b/moved)" = 77
      head -c 3000000 /dev/urandom > big; cp big copy; cmp big copy; truncate -s 100 copy
      test "$(stat -c %s copy)" = 100; test "$(sha256sum < big)" = "$(sha256sum < '\(folder("big"))')"
      truncate -s 10M sparse; echo end >> sparse; cp --sparse=always sparse sparse2; cmp sparse sparse2
      fallocate -l 1M full; fallocate -p -o 0 -l 64K full; dd if=big of=direct bs=64K conv=fsync
      mkdir many; i=0; while [ $i -lt 1500 ]; do : > many/$i; i=$((i+1)); done
      test "$(ls many | wc -l)" = 1500; test "$(find . -type f | wc -l)" = 1508
      mkfifo pipe; test -p pipe; ! mknod device c 1 3; ! chmod u+s big
      tar cf - a big | tar xf - -C many; cmp big many/big
      exec 3<> gone; rm gone; echo still >&3; exec 3>&-
      (flock -n 9) 9> lock; df . ; rm -rf many; test ! -e many
      """
    let status = system(script)
    #expect(umount2(point, Int32(MNT_DETACH)) == 0)
    for thread in threads { thread.join() }
    close(device)
    #expect(status == 0)
    // The thousands of files that it removed it has forgotten, as often as it was told of them. The rest goes with
    // the unmounting, which a plain mount does not tell.
    #expect(folder.descriptors < 100)
    rmdir(point)
  }
}
