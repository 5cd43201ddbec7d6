import CHostOS
import Glibc

/// Memory for code that is made at run time: one mapping to write it by, another to execute it by.
///
/// Owned by one thread at a time.
package final class CodeMapping {
  package let count: Int
  package let writable: UnsafeMutableRawPointer
  package let executable: UnsafeRawPointer

  /// Maps `count` bytes, which the host supplies when they are touched. `nil` where the host forbids executable memory
  /// or has no address space left.
  package init?(count: Int) {
    var writable: UnsafeMutableRawPointer?
    var executable: UnsafeMutableRawPointer?
    guard roost_code_mapping(count, &writable, &executable) == 0, let writable, let executable
    else { return nil }
    self.count = count
    self.writable = writable
    self.executable = UnsafeRawPointer(executable)
  }

  /// Says that what lies in a range of whole pages is mostly written: it need not be mapped twice any more, until somebody
  /// writes there again.
  package func settle(_ range: Range<Int>) {
    madvise(writable + range.lowerBound, range.count, MADV_DONTNEED)
  }

  deinit {
    munmap(writable, count)
    munmap(UnsafeMutableRawPointer(mutating: executable), count)
  }
}
