import Arch

/// The smallest guest: it got here, and it can say so.
enum Hello {
  static func run() -> Never {
    line("Hello from ring 0.")
    expect("start info", StartInfo.current.isValid)
    expect("64-bit mode is active", read_msr(0xc000_0080) & 0x500, is: 0x500)
    let vendor = cpuid(0, 0)
    note("highest CPUID leaf", .decimal(vendor.eax))
    finish()
  }
}
