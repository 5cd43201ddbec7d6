/// Page tables that map the first 4 GiB to themselves in pages of 2 MiB (Intel SDM Vol. 3A §4.5).
enum IdentityMap {
  /// One page-map level 4, one directory-pointer table, four directories.
  static let count = 6 * pageSize
  static let alignment: UInt64 = 4096
  private static let pageSize = 4096

  /// The tables, when the first of them lies at `base`.
  static func bytes(at base: UInt64) -> [UInt8] {
    var tables = Structure(count: count)
    tables.store(base + 1 * 4096 | present, at: 0)
    for directory in 0..<4 {
      let address = base + UInt64(2 + directory) * 4096
      tables.store(address | present, at: pageSize + directory * 8)
    }
    for page in 0..<2048 {
      tables.store(UInt64(page) << 21 | present | large, at: 2 * pageSize + page * 8)
    }
    return tables.bytes
  }

  /// P and R/W.
  private static let present: UInt64 = 0x3
  /// PS: the entry maps a page of 2 MiB.
  private static let large: UInt64 = 0x80
}
