import ArchitectureX86

// XSAVE areas in standard form, as KVM shows and takes them (KVM_GET_XSAVE): with all components that the host has.
// Linux, Documentation/virt/kvm/api.rst, §4.42 and §4.43.

private let header = 512
private let legacyAndHeader = 576

extension UnsafeRawBufferPointer {
  /// The area with these components, x87 and SSE state among them, and nothing of others.
  func savedArea(of components: UInt64) -> [UInt8] {
    var saved = [UInt8](repeating: 0, count: Int(X86.StateComponents.areaSize(components)))
    saved.replaceSubrange(0..<header, with: self[0..<header])
    let held =
      loadUnaligned(fromByteOffset: header, as: UInt64.self) & components
      | X86.StateComponents.x87 | X86.StateComponents.sse
    for byte in 0..<8 { saved[header + byte] = UInt8(truncatingIfNeeded: held >> (8 * byte)) }
    for (component, place) in X86.StateComponents.extended
    where component & components != 0 && place.upperBound <= count {
      saved.replaceSubrange(place, with: self[place])
    }
    return saved
  }
}

extension UnsafeMutableRawBufferPointer {
  /// Takes these components over from a saved area that has at least a header; one that it does not hold, or has no
  /// room for, becomes initial. All others stay.
  func takeArea(_ saved: [UInt8], of components: UInt64) {
    guard saved.count >= legacyAndHeader else { return }
    var held = (0..<8).reduce(0 as UInt64) { $0 | UInt64(saved[header + $1]) << (8 * $1) }
    copyBytes(from: saved[0..<header])
    for (component, place) in X86.StateComponents.extended where component & components != 0 {
      guard place.upperBound <= Swift.min(saved.count, count) else {
        held &= ~component
        continue
      }
      UnsafeMutableRawBufferPointer(rebasing: self[place]).copyBytes(from: saved[place])
    }
    let present =
      loadUnaligned(fromByteOffset: header, as: UInt64.self) & ~components | held & components
    storeBytes(of: present, toByteOffset: header, as: UInt64.self)
  }
}
