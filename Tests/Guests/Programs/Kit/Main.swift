import Arch

/// Where every guest begins: the command line's word chooses the program.
@c(kernel_main) public func kernelMain(_ startInfo: UInt64) {
  StartInfo.current = StartInfo(address: startInfo)
  prepare_processor()
  fill_bytes(Layout.words, 0, 4096)
  Console.open()
  let info = StartInfo.current
  if info.isAsked(for: "memory") { Memory.run() }
  if info.isAsked(for: "paging") { Paging.run() }
  if info.isAsked(for: "exceptions") { Exceptions.run() }
  if info.isAsked(for: "user") { UserMode.run() }
  if info.isAsked(for: "self-modifying") { SelfModifying.run() }
  if info.isAsked(for: "timers") { Timers.run() }
  if info.isAsked(for: "interrupts") { Interrupts.run() }
  if info.isAsked(for: "processors") { ProcessorStart.run() }
  if info.isAsked(for: "atomics") { Atomics.run() }
  if info.isAsked(for: "ordering") { Ordering.run() }
  if info.isAsked(for: "vectors") { KernelVectors.run() }
  if info.isAsked(for: "checksum") { Checksum.run() }
  if info.isAsked(for: "exit-cost") { ExitCost.run(info) }
  if info.isAsked(for: "pci") { PCIScan.run() }
  if info.isAsked(for: "virtio-mmio-violations") { VirtioViolations.overMMIO() }
  if info.isAsked(for: "virtio-pci-violations") { VirtioViolations.overPCI() }
  if info.isAsked(for: "rtc") { RealTimeClock.run() }
  if info.isAsked(for: "acpi") { ACPITables.run() }
  if info.isAsked(for: "power-off") { Endings.powerOff() }
  if info.isAsked(for: "reset-cf9") { Endings.resetControl() }
  if info.isAsked(for: "reset-8042") { Endings.keyboardController() }
  if info.isAsked(for: "triple-fault") { Endings.tripleFault() }
  Hello.run()
}
