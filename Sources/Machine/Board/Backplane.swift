package import Logging
package import Memory
package import Work

/// What a device is plugged into: address spaces, pins, guest time, and a loop for its work.
package struct Backplane: Sendable {
  package let memory: GuestMemory
  package let ports = IOBus(wideAccess: .split)
  package let registers = IOBus(wideAccess: .refuse)
  package let clock: any VMClock
  package let loop: any Loop
  package let log: Logger

  package init(memory: GuestMemory, clock: any VMClock, loop: any Loop, log: Logger) {
    self.memory = memory
    self.clock = clock
    self.loop = loop
    self.log = log
  }
}
