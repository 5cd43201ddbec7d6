package import HostOS

/// A file that records what is sent. Nothing comes back.
package final class FileStream: HostStream {
  private let pump: OutputPump
  private let user = StreamUser()

  /// Starts the file anew.
  package init(path: String) throws(HostError) {
    pump = try OutputPump(to: HostFile.create(path)) { [user] in user.tell(.maySend) }
  }

  package func send(_ bytes: [UInt8]) -> Int { pump.send(bytes) }
  package func receive(upTo count: Int) -> [UInt8] { [] }
  package func attach(_ user: any ByteStreamUser) { self.user.attach(user) }

  package func close() -> HostError? {
    pump.close()
  }
}
