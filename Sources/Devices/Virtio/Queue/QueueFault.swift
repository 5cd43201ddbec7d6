/// Why a queue stopped: what its driver did that no driver may. The queue stays so until it is reset.
package enum QueueFault: Error, Sendable, Equatable {
  /// A part of the ring is not aligned, or the size is none that the format has.
  case badLayout
  /// A part of the ring, or an indirect table, is not in memory that the device may use.
  case ringOutOfReach
  /// The ring offers more than it has room for, or names a descriptor that it does not have.
  case badIndex
  /// A chain has more descriptors than the queue, or runs in a circle.
  case chainTooLong
  /// A chain holds more than 2³² bytes, or more than the device takes.
  case tooManyBytes
  /// A buffer without bytes, around the end of the address space, or outside of memory.
  case badBuffer
  /// A buffer for the device to write into lies over the ring itself.
  case bufferOverRing
  /// A buffer to read follows a buffer to write.
  case readableAfterWritable
  /// An indirect table where there may be none, of a bad size, or with another one inside.
  case badIndirectTable
  /// The device cannot make sense of the chain's buffers: its own words.
  case malformedRequest(String)
}
