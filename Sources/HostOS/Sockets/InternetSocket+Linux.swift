import CHostOS
import Glibc

extension InternetSocket {
  /// Begins to connect to `address`. A stream is connected once it is writable and `takeError` answers `nil`.
  package static func connect(
    _ kind: Kind, to address: SocketAddress
  ) throws(HostError) -> InternetSocket {
    let socket = try make(kind, isV6: address.isV6, "connect")
    var raw = address.raw
    guard roost_inet_connect(socket.handle, &raw) == 0 else { throw .last("connect") }
    return socket
  }

  /// Takes datagrams at `address`, or listens there for streams.
  package static func bind(
    _ kind: Kind, at address: SocketAddress
  ) throws(HostError) -> InternetSocket {
    let operation = "listen at port \(address.port)"
    let socket = try make(kind, isV6: address.isV6, operation)
    var raw = address.raw
    guard roost_inet_bind(socket.handle, &raw) == 0 else { throw .last(operation) }
    return socket
  }

  private static func make(
    _ kind: Kind, isV6: Bool, _ operation: String
  ) throws(HostError) -> InternetSocket {
    let raw =
      switch kind {
      case .stream: ROOST_STREAM
      case .datagram: ROOST_DATAGRAM
      case .echo: ROOST_ECHO
      }
    let handle = roost_inet_socket(isV6 ? 1 : 0, raw)
    guard handle >= 0 else { throw .last(operation) }
    return InternetSocket(Descriptor(owning: handle))
  }

  /// Where the socket is bound.
  package var localAddress: SocketAddress? {
    var raw = roost_endpoint()
    return roost_inet_local(handle, &raw) == 0 ? SocketAddress(raw) : nil
  }

  /// The next client of a listening stream socket and where it calls from; `nil` if there is none now.
  package func accept() -> (InternetSocket, from: SocketAddress)? {
    var raw = roost_endpoint()
    let client = roost_inet_accept(handle, &raw)
    guard client >= 0 else { return nil }
    return (InternetSocket(Descriptor(owning: client)), SocketAddress(raw))
  }

  /// The failure that the socket met on its own, of connecting for instance.
  package func takeError() -> SocketFailure? {
    let code = roost_inet_error(handle)
    return code == 0 ? nil : SocketFailure(code: code)
  }

  /// Ends the stream towards the other end, which may still send.
  package func finishSending() { shutdown(handle, Int32(SHUT_WR)) }

  /// Has the end of the socket break the connection off instead of closing it.
  package func abortOnClose() { roost_inet_abort_on_close(handle) }

  /// The longest packet, with all headers, that the path of a connected socket takes.
  package func pathLimit(isV6: Bool) -> Int? {
    let limit = roost_inet_path_limit(handle, isV6 ? 1 : 0)
    return limit > 0 ? Int(limit) : nil
  }

  /// Sends `bytes[range]`, to where the socket is connected or to `address`.
  package func send(
    _ bytes: [UInt8], _ range: Range<Int>, to address: SocketAddress? = nil
  ) -> Transfer {
    bytes.withUnsafeBytes { buffer in
      let part = UnsafeRawBufferPointer(rebasing: buffer[range])
      guard let address else {
        return Transfer(roost_inet_send(handle, part.baseAddress, part.count, nil))
      }
      var raw = address.raw
      return Transfer(roost_inet_send(handle, part.baseAddress, part.count, &raw))
    }
  }

  /// Sends pieces of a stream in one system call, `StreamPiece.limit` of them at most.
  package func send(_ pieces: [StreamPiece]) -> Transfer {
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: min(pieces.count, StreamPiece.limit)) {
      gather(pieces, 0, $0)
    }
  }

  /// Holds the piece at `index`, inside of that all behind it, and innermost sends them.
  private func gather(
    _ pieces: [StreamPiece], _ index: Int, _ vectors: UnsafeMutableBufferPointer<iovec>
  ) -> Transfer {
    guard index < vectors.count else {
      return Transfer(roost_inet_send_pieces(handle, vectors.baseAddress, Int32(vectors.count)))
    }
    return pieces[index].bytes.withUnsafeBytes { buffer in
      let part = buffer[pieces[index].range]
      vectors[index] = iovec(
        iov_base: UnsafeMutableRawPointer(
          mutating: UnsafeRawBufferPointer(rebasing: part).baseAddress),
        iov_len: part.count)
      return gather(pieces, index + 1, vectors)
    }
  }

  /// Receives up to `count` bytes into a new array, behind `prefix` bytes of zero.
  package func receive(
    upTo count: Int, behind prefix: Int, into bytes: inout [UInt8],
    from source: inout SocketAddress?
  ) -> Transfer {
    var transfer = Transfer.blocked
    bytes = [UInt8](unsafeUninitializedCapacity: prefix + count) { buffer, filled in
      buffer[..<prefix].initialize(repeating: 0)
      var raw = roost_endpoint()
      let result = roost_inet_receive(handle, buffer.baseAddress! + prefix, count, &raw)
      transfer = Transfer(result)
      filled = prefix + max(0, result)
      if result >= 0 { source = SocketAddress(raw) }
    }
    return transfer
  }

  /// Receives up to `count` bytes of a stream into a new array, each `size` of them behind a copy of `head`: one system
  /// call, one copy. The array is as long as what came; empty, if nothing did.
  package func receive(
    upTo count: Int, piecesOf size: Int, behind head: [UInt8], into bytes: inout [UInt8]
  ) -> Transfer {
    let number = min((count + size - 1) / size, Self.pieceLimit)
    let count = min(count, number * size)
    let step = head.count + size
    var transfer = Transfer.blocked
    bytes = [UInt8](unsafeUninitializedCapacity: number * head.count + count) { buffer, filled in
      withUnsafeTemporaryAllocation(of: iovec.self, capacity: number) { vectors in
        for index in 0..<number {
          let piece = UnsafeMutableBufferPointer(rebasing: buffer[(index * step)...])
          _ = piece.initialize(fromContentsOf: head)
          vectors[index] = iovec(
            iov_base: piece.baseAddress! + head.count, iov_len: min(size, count - index * size))
        }
        let result = readv(handle, vectors.baseAddress, Int32(number))
        transfer = Transfer(result)
        filled = result > 0 ? result + head.count * ((result + size - 1) / size) : 0
      }
    }
    return transfer
  }

  /// What the host takes at once: IOV_MAX.
  private static let pieceLimit = 1024

  /// Lets the process have as many handles as the host allows, and keep the memory of frames between them.
  package static func prepareProcess() {
    roost_raise_handle_limit()
    roost_keep_freed_memory()
  }
}
