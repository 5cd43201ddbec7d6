import CHostOS
import Glibc

extension SocketAddress {
  init(_ raw: roost_endpoint) {
    self.init(isV6: raw.is_v6 != 0, high: raw.high, low: raw.low, port: raw.port)
  }

  var raw: roost_endpoint {
    roost_endpoint(high: high, low: low, port: port, is_v6: isV6 ? 1 : 0)
  }

  /// Whether the address belongs to one of the host's loopback interfaces, whatever it looks like.
  package var isOnLoopbackInterface: Bool {
    var raw = raw
    return roost_inet_is_on_loopback(&raw) != 0
  }
}

extension SocketFailure {
  /// From the host's error number.
  package init(code: Int32) {
    switch code {
    case ECONNREFUSED: self = .refused
    case ECONNRESET, EPIPE, ECONNABORTED: self = .reset
    case EHOSTUNREACH, ENETUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL, EAFNOSUPPORT:
      self = .unreachable
    case ETIMEDOUT: self = .timedOut
    case EACCES, EPERM: self = .notPermitted
    case EMSGSIZE: self = .tooLong
    default: self = .other(code)
    }
  }
}

extension Transfer {
  /// From a system call's result.
  init(_ result: Int) {
    if result >= 0 {
      self = .moved(result)
    } else {
      let code = errno
      self = code == EAGAIN || code == EINTR ? .blocked : .failed(SocketFailure(code: code))
    }
  }
}
