import CZlib
import CZstd

/// Compressed clusters' two formats. Each call is complete in itself and may come from any thread.
enum Compression {
  /// Decompresses exactly as many bytes as `output` takes. Answers `false` if the input does not hold them.
  static func decompress(
    _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer,
    _ type: QCOW2Compression
  ) -> Bool {
    switch type {
    case .zlib: inflate(input, into: output)
    case .zstd: decompressFrames(input, into: output)
    }
  }

  /// Compresses into `output`; nil if it takes more room than that.
  static func compress(
    _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer,
    _ type: QCOW2Compression
  ) -> Int? {
    switch type {
    case .zlib: return deflate(input, into: output)
    case .zstd:
      let result = ZSTD_compress(
        output.baseAddress, output.count, input.baseAddress, input.count, 3)
      return ZSTD_isError(result) != 0 ? nil : result
    }
  }

  // MARK: - Raw deflate, without zlib's header

  private static let version = "1"
  // QEMU writes with a window of 2^12 bytes, and may read with no larger one.
  private static let windowBits: Int32 = 12

  private static func inflate(
    _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) -> Bool {
    var stream = z_stream()
    stream.next_in = UnsafeMutablePointer(
      mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
    stream.avail_in = UInt32(input.count)
    stream.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
    stream.avail_out = UInt32(output.count)
    guard inflateInit2_(&stream, -15, version, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      return false
    }
    defer { inflateEnd(&stream) }
    let result = CZlib.inflate(&stream, Z_FINISH)
    // The input is followed by whatever else lies in its last sector.
    return stream.avail_out == 0 && (result == Z_STREAM_END || result == Z_BUF_ERROR)
  }

  private static func deflate(
    _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) -> Int? {
    var stream = z_stream()
    stream.next_in = UnsafeMutablePointer(
      mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
    stream.avail_in = UInt32(input.count)
    stream.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
    stream.avail_out = UInt32(output.count)
    guard
      deflateInit2_(
        &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -windowBits, 9, Z_DEFAULT_STRATEGY, version,
        Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { return nil }
    defer { deflateEnd(&stream) }
    guard CZlib.deflate(&stream, Z_FINISH) == Z_STREAM_END else { return nil }
    return output.count - Int(stream.avail_out)
  }

  // MARK: - Zstandard frames

  private static func decompressFrames(
    _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) -> Bool {
    guard let context = ZSTD_createDCtx() else { return false }
    defer { ZSTD_freeDCtx(context) }
    // No frame needs a larger window than the largest cluster; one that claims to would take memory.
    _ = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 22)
    var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
    var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
    while target.pos < target.size {
      let before = (source.pos, target.pos)
      let result = ZSTD_decompressStream(context, &target, &source)
      guard ZSTD_isError(result) == 0, before != (source.pos, target.pos) else { return false }
    }
    return true
  }
}
