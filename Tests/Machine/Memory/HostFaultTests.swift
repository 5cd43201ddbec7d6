import CHostOS
import Glibc
import Memory
import Testing

/// Copies to and from memory of which the host cannot supply a page.
@Suite struct HostFaultTests {
  /// A mapping of a file that shrank to its first page: the second faults with SIGBUS.
  private final class ShrunkFile {
    static let pageSize = 4096
    let base: UnsafeMutableRawPointer
    private let handle: Int32

    init() throws {
      var path = Array("/tmp/roost-shrunk-XXXXXX".utf8CString)
      handle = mkstemp(&path)
      try #require(handle >= 0)
      unlink(path)
      try #require(ftruncate(handle, 2 * Self.pageSize) == 0)
      base = try #require(
        mmap(nil, 2 * Self.pageSize, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0))
      try #require(base != MAP_FAILED)
      base.storeBytes(of: 42, as: UInt8.self)
      try #require(ftruncate(handle, Self.pageSize) == 0)
      roost_install_fault_guard()
    }

    deinit {
      munmap(base, 2 * Self.pageSize)
      close(handle)
    }
  }

  @Test func `a copy out of a page that is gone fails, and the next one works`() throws {
    let file = try ShrunkFile()
    var bytes = [UInt8](repeating: 1, count: 3 * ShrunkFile.pageSize)
    for _ in 0..<100 {
      #expect(roost_copy(&bytes, file.base, 2 * ShrunkFile.pageSize) == -1)
      #expect(roost_copy(&bytes, file.base + ShrunkFile.pageSize + 17, 1) == -1)
      #expect(roost_copy(&bytes, file.base, ShrunkFile.pageSize) == 0)
    }
    #expect(bytes[0] == 42)
    #expect(bytes[2 * ShrunkFile.pageSize] == 1)
  }

  @Test func `a copy into a page that is gone fails, and so does filling it`() throws {
    let file = try ShrunkFile()
    let bytes = [UInt8](repeating: 7, count: 2 * ShrunkFile.pageSize)
    #expect(roost_copy(file.base, bytes, bytes.count) == -1)
    #expect(roost_fill(file.base, 9, bytes.count) == -1)
    #expect(roost_fill(file.base + ShrunkFile.pageSize, 9, 1) == -1)
    #expect(roost_fill(file.base, 9, ShrunkFile.pageSize) == 0)
    #expect(file.base.load(as: UInt8.self) == 9)
  }

  @Test func `memory without permission fails alike`() throws {
    let page = try #require(
      mmap(nil, ShrunkFile.pageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
    roost_install_fault_guard()
    var byte: UInt8 = 3
    #expect(roost_copy(page, &byte, 1) == -1)
    #expect(roost_copy(&byte, page, 1) == -1)
    #expect(roost_fill(page, 0, ShrunkFile.pageSize) == -1)
    #expect(byte == 3)
    munmap(page, ShrunkFile.pageSize)
  }

  @Test func `nothing is copied between places that are gone if nothing is asked for`() throws {
    let file = try ShrunkFile()
    #expect(roost_copy(file.base + ShrunkFile.pageSize, file.base + ShrunkFile.pageSize, 0) == 0)
  }

  @Test func `a fault that no copy made still ends the process`() async {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      roost_install_fault_guard()
      var byte: UInt8 = 1
      precondition(roost_copy(UnsafeMutableRawPointer(bitPattern: 8), &byte, 1) == -1)
      UnsafeMutableRawPointer(bitPattern: 8)?.storeBytes(of: 0, as: UInt8.self)
    }
  }

  @Test func `guest memory whose page is gone reports the page`() throws {
    let memory = try GuestMemory([.init(start: GPA(0x10_0000), count: 0x3000)])
    memory.dirtyPages.isEnabled = true
    let page = try #require(memory.hostPage(holding: GPA(0x10_1000)))
    try #require(mprotect(page.base, 0x1000, PROT_NONE) == 0)
    #expect(throws: MemoryFault.hostFailed(GPA(0x10_1ffe))) {
      try memory.bytes(at: GPA(0x10_1ffe), count: 1)
    }
    #expect(throws: MemoryFault.hostFailed(GPA(0x10_0ff0))) {
      try memory.fill(1, at: GPA(0x10_0ff0), count: 0x20)
    }
    // What may have been written in part counts as written.
    #expect(memory.dirtyPages.collect() == [0, 1])
  }
}
