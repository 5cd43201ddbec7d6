import Synchronization
import UserNetwork

/// Resolvers that answer what a script says, when it says so.
final class ScriptedResolvers: ResolverTransport {
  private struct State {
    var channels: [Channel] = []
    var refuses = false
  }
  private let state = Mutex(State())

  final class Channel: ResolverChannel {
    let answer: @Sendable ([UInt8]?) -> Void
    private let question = Mutex<[UInt8]>([])

    init(_ answer: @escaping @Sendable ([UInt8]?) -> Void) { self.answer = answer }

    var asked: [UInt8] { question.withLock { $0 } }
    func send(_ message: [UInt8]) -> Bool {
      question.withLock { $0 = message }
      return true
    }
  }

  func open(
    to resolver: Endpoint, by transport: Transport,
    _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) -> (any ResolverChannel)? {
    state.withLock { state in
      if state.refuses { return nil }
      let channel = Channel(answer)
      state.channels.append(channel)
      return channel
    }
  }

  func stir(_ script: inout Script) {
    let number = script.byte()
    if number == 0xff { state.withLock { $0.refuses.toggle() } }
    let channels = state.withLock { $0.channels }
    guard !channels.isEmpty else { return }
    let channel = channels[Int(number >> 2) % channels.count]
    switch number & 3 {
    case 0: channel.answer(nil)
    case 1: channel.answer(script.piece())
    default:
      // The question, as an answer, with what the script puts behind it.
      var message = channel.asked
      guard message.count >= 12 else { return }
      message[2] |= 0x80
      message[3] = script.byte()
      message[7] = script.byte() & 7
      channel.answer(message + script.piece())
    }
  }

  func forget() { state.withLock { $0.channels = [] } }
}
