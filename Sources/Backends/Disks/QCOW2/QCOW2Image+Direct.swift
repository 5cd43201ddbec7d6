package import Memory

extension QCOW2Image: HostPlaceKeeper {
  /// Bytes that lie side by side in the file, if the tables that say so are in memory and nobody holds the lock: those
  /// of one cluster that is the disk's alone, for a write. What lies beneath is asked for by its place there.
  package func place(
    to direction: TransferDirection, _ buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> HostPlace? {
    guard let file = file.directFile, buffers.count > 0 else { return nil }
    try checkRange(offset, buffers.count)
    switch direction {
    case .write:
      guard !isReadOnly,
        let (host, ticket) = try placeAtOnce(offset..<offset + UInt64(buffers.count))
      else { return nil }
      guard file.takesDirectly(buffers.parts, at: host) else {
        operations.end(ticket)
        return nil
      }
      return HostPlace(file, host, keptBy: self, ticket)
    case .read:
      guard let (run, ticket) = try lookUpAtOnce(offset, limit: buffers.count) else { return nil }
      if run.count == UInt64(buffers.count) {
        switch run.storage {
        case .data(let host) where file.takesDirectly(buffers.parts, at: host):
          return HostPlace(file, host, keptBy: self, ticket)
        case .absent:
          operations.end(ticket)
          guard let backing, offset + UInt64(buffers.count) <= backing.size else { return nil }
          return try backing.place(to: .read, buffers, at: offset)
        case .data, .zero, .compressed: break
        }
      }
      operations.end(ticket)
      return nil
    }
  }

  func leave(_ ticket: Int) { operations.end(ticket) }
}
