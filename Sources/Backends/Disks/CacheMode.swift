/// What stands between a guest's writes and the storage, and what its flush is worth.
package enum CacheMode: String, Sendable, CaseIterable {
  /// The host's page cache; a flush makes durable what was written.
  case writeback
  /// The host's page cache for reading; each write is durable when it is answered.
  case writethrough
  /// Past the page cache; a flush makes the device's own cache durable.
  case direct
  /// The page cache, and flushes do nothing: a host that loses power loses the disk. For what can be made again.
  case unsafe
}
