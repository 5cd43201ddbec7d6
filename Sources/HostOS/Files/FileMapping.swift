import CHostOS

/// A file mapped into memory, whole.
///
/// Where the host can no longer supply a page, because the file has shrunk or its storage has failed, whoever touches
/// the page finds zeroes there from then on instead of ending the process, and the mapping is torn for good.
@safe package final class FileMapping: @unchecked Sendable {
  // Sendable although it gives away a raw pointer: the mapping stays where it is while this lives.
  package enum Kind: Sendable {
    /// Writes go to the file, and become durable when it is flushed.
    case shared
    /// The memory cannot be written.
    case readOnly
    /// Writes stay in memory, and the file as it is.
    case overlaid
  }

  package let file: StorageFile
  package let kind: Kind
  /// Bytes; whole pages.
  package let count: UInt64
  private let number: Int32

  /// - Parameter count: a multiple of 4 KiB, not more than the file has.
  package init(_ file: StorageFile, _ kind: Kind, count: UInt64) throws(HostError) {
    precondition(count > 0 && count.isMultiple(of: 4096), "a mapping is made of whole pages")
    number = roost_mapping_make(file.descriptor.handle, Int(count), kind.code)
    guard number >= 0 else { throw .last("map \"\(file.path)\" into memory") }
    self.file = file
    self.kind = kind
    self.count = count
  }

  deinit { roost_mapping_end(number) }

  /// The first byte.
  package var base: UnsafeMutableRawPointer { roost_mapping_base(number) }

  /// Whether all of the memory still is the file's.
  package var isIntact: Bool { roost_mapping_is_torn(number) == 0 }

  /// Looks whether the file has become shorter than the mapping, for an access of the host's kernel, which finds no
  /// memory there and gets no zeroes by itself. Answers whether there are some now where there were none.
  package func mend() -> Bool { roost_mapping_mend(number) != 0 }
}

extension FileMapping.Kind {
  fileprivate var code: roost_mapping_kind {
    switch self {
    case .shared: ROOST_MAPPING_SHARED
    case .readOnly: ROOST_MAPPING_READ_ONLY
    case .overlaid: ROOST_MAPPING_PRIVATE
    }
  }
}
