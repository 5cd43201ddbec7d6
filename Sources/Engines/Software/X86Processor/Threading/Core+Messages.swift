import CProcessor
import Memory
import Synchronization

// What cores ask of each other.

extension Core {
  /// What another core, or a device, asks for.
  enum Message {
    /// Code of a page is being decoded for the first time: it must not be written without being asked.
    case pageWatched(page: Int, physical: UInt64)
    case codeChanged(page: Int)
    case revokeAllWrites
    case rightsChanged(pages: Range<Int>)
    case addressLine20(isOpen: Bool)
  }

  /// Leaves a message; the core reads it at its next jump. From any thread.
  func post(_ message: Message) {
    messages.withLock { $0.append(message) }
    x86_attention_set(cpu, Attention.housekeeping)
    neighbours?.wake(self)
  }

  /// Does what others asked for; between two runs of threaded code.
  func keepHouse() {
    let received = messages.withLock { messages in
      defer { messages = [] }
      return messages
    }
    for message in received {
      switch message {
      case .pageWatched(let page, let physical):
        // What this core wrote before it read this may be missing from what others decoded: the page counts
        // as written now.
        if revokeWrites(to: page, physical: physical) || hasLostGrants {
          memory.watchedLines.noteWrite(page: page, from: 0, through: Int(pageMask))
        }
        hear()
      case .codeChanged(let page): dropCode(page: page)
      case .revokeAllWrites:
        noteLostGrants()
        tlb.revokeWrites(toPhysical: nil)
      case .rightsChanged(let pages): forgetRights(to: pages)
      case .addressLine20(let isOpen): setAddressLine20(isOpen: isOpen)
      }
    }
    if hasHeard(memory.watchedLines.announcements) { hasLostGrants = false }
    if needsCacheReset {
      needsCacheReset = false
      statistics.cacheResets.increment()
      code.dropAll()
      straddlingCode.removeAll()
      forgetCodeAddresses()
    }
  }

  /// Another core keeps code decoded from a page. From any thread.
  package func notePageWatched(page: Int, physical: UInt64) {
    post(.pageWatched(page: page, physical: physical))
  }

  /// Watched lines of a page were written. From any thread: on the core's own the code is dropped at once,
  /// since the instruction that wrote may be followed by the one it wrote.
  package func noteCodeChanged(page: Int) {
    if isCurrent { dropCode(page: page) } else { post(.codeChanged(page: page)) }
  }

  /// The rights to pages changed. From any thread: on the core's own it heeds them at once.
  package func noteRightsChanged(pages: Range<Int>) {
    if isCurrent { forgetRights(to: pages) } else { post(.rightsChanged(pages: pages)) }
  }

  /// The A20 gate moved. From any thread: on the core's own it heeds that at once.
  package func noteAddressLine20(isOpen: Bool) {
    if isCurrent { setAddressLine20(isOpen: isOpen) } else { post(.addressLine20(isOpen: isOpen)) }
  }

  /// Writes are to be noticed again. From any thread.
  package func noteWritesWanted() { post(.revokeAllWrites) }

  /// Asks `run` to return. From any thread.
  package func kick() {
    x86_attention_set(cpu, Attention.kick)
    neighbours?.wake(self)
  }

  /// The local APIC has something. From any thread.
  package func attend() {
    x86_attention_set(cpu, Attention.interrupt)
    neighbours?.wake(self)
  }
}
