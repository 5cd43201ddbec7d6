import Arch

/// A disk (VIRTIO 1.3 §5.2). Its first 64 sectors hold what the test put there, and are only read; the rest may be written.
final class BlockUse: DeviceUse {
  let name: StaticString = "block"
  /// Flush, write-back toggle, discard, write zeroes.
  let features: UInt64 = 1 << 9 | 1 << 11 | 1 << 13 | 1 << 14
  let requestQueue = 0
  private let page = Pool.pages()
  private var sector: UInt64 = 0

  static var knownSectors: UInt64 { 64 }

  enum RequestType {
    static var read: UInt32 { 0 }
    static var write: UInt32 { 1 }
    static var flush: UInt32 { 4 }
    static var identify: UInt32 { 8 }
    static var discard: UInt32 { 11 }
    static var writeZeroes: UInt32 { 13 }
  }

  var header: UInt64 { page }
  var status: UInt64 { page + 0x100 }
  var segment: UInt64 { page + 0x180 }
  var data: UInt64 { page + 0x200 }

  /// Writes a request's header, and makes ready that its status is seen to come.
  func prepare(_ type: UInt32, _ sector: UInt64) {
    store32(header, type)
    store32(header + 4, 0)
    store64(header + 8, sector)
    store8(status, 0xff)
  }

  func request() -> Chain {
    sector = (sector + 1) % Self.knownSectors
    prepare(RequestType.read, sector)
    store64(data + 504, 0)
    var chain = Chain(for: 0)
    chain.read(header, 16)
    chain.write(data, 512)
    chain.write(status, 1)
    return chain
  }

  func fault(with driver: VirtioDriver) -> StaticString? {
    guard let written = driver.complete(request()) else { return "no sector comes" }
    guard written == 513, load8(status) == 0 else { return "a sector cannot be read" }
    for index in UInt64(0)..<64 where load64(data + 8 * index) != Self.content(sector, index) {
      return "a sector is not what it was"
    }
    return nil
  }

  /// The doublewords of a known sector, as the test writes them.
  private static func content(_ sector: UInt64, _ index: UInt64) -> UInt64 {
    (sector << 32 | index) &* 0x9e37_79b9_7f4a_7c15
  }
}
