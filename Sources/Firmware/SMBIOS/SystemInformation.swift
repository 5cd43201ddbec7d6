/// What SMBIOS tells about a machine: who made it, what it is called, what is in it.
///
/// Texts reach the guest as printable ASCII, other characters as question marks; an empty text is
/// one that is not given.
package struct SystemInformation: Sendable, Equatable {
  package var firmware: Firmware
  package var system: System
  package var chassis: Chassis
  package var processor: Processor
  /// The guest's RAM, each range by its first address and its size in bytes, lowest first.
  package var memory: [MemoryRange]

  package init(
    firmware: Firmware = Firmware(), system: System = System(), chassis: Chassis = Chassis(),
    processor: Processor, memory: [MemoryRange]
  ) {
    self.firmware = firmware
    self.system = system
    self.chassis = chassis
    self.processor = processor
    self.memory = memory
  }

  package struct Firmware: Sendable, Equatable {
    package var vendor: String
    package var version: String
    /// Month, day and year: `mm/dd/yyyy`.
    package var releaseDate: String

    package init(
      vendor: String = "Roost", version: String = "1.0", releaseDate: String = "01/01/2026"
    ) {
      self.vendor = vendor
      self.version = version
      self.releaseDate = releaseDate
    }
  }

  package struct System: Sendable, Equatable {
    package var manufacturer: String
    package var product: String
    package var version: String
    package var serialNumber: String
    /// The UUID as its text reads, most significant digit first; zero if there is none.
    package var uuid: UInt128
    package var sku: String
    package var family: String

    package init(
      manufacturer: String = "Roost", product: String = "Roost PC", version: String = "",
      serialNumber: String = "", uuid: UInt128 = 0, sku: String = "", family: String = ""
    ) {
      self.manufacturer = manufacturer
      self.product = product
      self.version = version
      self.serialNumber = serialNumber
      self.uuid = uuid
      self.sku = sku
      self.family = family
    }
  }

  package struct Chassis: Sendable, Equatable {
    package var manufacturer: String
    package var serialNumber: String
    package var assetTag: String

    package init(manufacturer: String = "Roost", serialNumber: String = "", assetTag: String = "") {
      self.manufacturer = manufacturer
      self.serialNumber = serialNumber
      self.assetTag = assetTag
    }
  }

  /// The one processor package and its cores.
  package struct Processor: Sendable, Equatable {
    package var manufacturer: String
    package var version: String
    /// CPUID leaf 1, EAX and EDX.
    package var signature: UInt32
    package var features: UInt32
    package var cores: Int
    package var threadsPerCore: Int
    /// In MHz; zero if unknown.
    package var speed: UInt16

    package init(
      manufacturer: String, version: String, signature: UInt32, features: UInt32, cores: Int,
      threadsPerCore: Int = 1, speed: UInt16 = 0
    ) {
      self.manufacturer = manufacturer
      self.version = version
      self.signature = signature
      self.features = features
      self.cores = cores
      self.threadsPerCore = threadsPerCore
      self.speed = speed
    }
  }

  package struct MemoryRange: Sendable, Equatable {
    package var address: UInt64
    package var size: UInt64

    package init(address: UInt64, size: UInt64) {
      self.address = address
      self.size = size
    }
  }
}
