package import HostOS

extension ImageError {
  package init(_ error: HostError) { self = .refused("Roost \(error).") }
}
