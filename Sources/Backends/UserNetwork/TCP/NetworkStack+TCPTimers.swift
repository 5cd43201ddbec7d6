/// When a connection is looked at again, and what is done then.
extension NetworkStack {
  func setDeadline(_ flow: TCPFlow) {
    switch flow.state {
    case .synSent, .synReceived, .timeWait: break
    case .connecting, .draining:
      // The host's sockets have timers of their own.
      flow.deadline = .max
    default:
      if flow.sender.isEmpty { flow.resendAt = nil }
      setProbe(flow)
      flow.deadline = min(
        flow.resendAt ?? .max, flow.probeAt ?? .max,
        flow.lastHeard &+ Self.keepAliveIdle &+ UInt64(flow.attempts) &* Self.keepAliveInterval)
    }
    deadlines.schedule(flow)
  }

  /// RFC 9293 3.8.6.1: while the guest's window is shut for what the host has, it is asked now and then.
  private func setProbe(_ flow: TCPFlow) {
    guard flow.isSending, flow.mayRead, flow.sender.isEmpty, flow.sender.isShut else {
      flow.probeAt = nil
      return
    }
    if flow.probeAt == nil {
      flow.probeAt = now &+ flow.sender.timeout.value &<< UInt64(min(flow.probes, 6))
    }
  }

  func deadlineCame(_ flow: TCPFlow) {
    switch flow.state {
    case .connecting, .draining: return
    case .timeWait:
      // What the guest was told is ours to deliver, however slow the host is.
      if flow.hostWasToldEnd { return finish(flow) }
      flow.state = .draining
      flow.deadline = .max
    case .synSent, .synReceived:
      flow.attempts += 1
      if flow.attempts >= Self.handshakeAttempts { return abandon(flow) }
      sendHandshake(flow)
    default:
      if let resendAt = flow.resendAt, resendAt <= now {
        statistics.retransmissionTimeouts &+= 1
        flow.sender.timedOut()
        if flow.sender.timeout.backOffs > Self.resendAttempts { return abandon(flow) }
        flow.resendAt = now &+ flow.sender.timeout.value
      } else if let probeAt = flow.probeAt, probeAt <= now {
        probe(flow)
        flow.probes += 1
        flow.probeAt = nil
        statistics.zeroWindowProbes &+= 1
        if now &- flow.lastHeard > 10 * Self.keepAliveInterval { return abandon(flow) }
      } else if flow.lastHeard &+ Self.keepAliveIdle <= now {
        flow.attempts += 1
        if flow.attempts > Self.keepAliveAttempts { return abandon(flow) }
        probe(flow)
      }
      attend(flow)
    }
  }

  /// A segment from before the window, which the guest answers with where it is (RFC 9293 3.8.4).
  private func probe(_ flow: TCPFlow) {
    sendControl(
      flow, .ack, sequence: flow.sender.unacknowledged + -1,
      acknowledgment: flow.receiver.next)
  }
}
