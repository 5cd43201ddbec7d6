/// What lies in a fuzzed processor's memory: an operating system in little. Its handlers halt after a fault, and return from
/// traps and interrupts.
struct MemoryImage {
  private(set) var bytes = [UInt8](repeating: 0, count: Int(ProcessorSetting.Place.end))

  private typealias Place = ProcessorSetting.Place

  static let real = MemoryImage(returning: [0xcf]) { image in
    for vector in 0..<256 as Range<UInt64> {
      image.put((Place.handlers >> 4) << 16 | 16 * vector, 4, at: 4 * vector)
    }
  }
  static let legacy = MemoryImage(returning: [0xcf]) { image in
    image.layOutGates(selector: 0x10, size: 8)
    image.put(Place.stack + 0x8000 | 0x18 << 32, at: Place.taskState + 4)
  }
  static let long = MemoryImage(returning: [0x48, 0xcf]) { image in
    image.layOutGates(selector: 0x08, size: 16)
    image.put(Place.stack + 0x8000, at: Place.taskState + 4)
    image.put(Place.stack + 0xa000, at: Place.taskState + 36)
  }

  private init(returning code: [UInt8], _ layOutRest: (inout MemoryImage) -> Void) {
    for vector in 0..<256 as Range<UInt64> {
      // Of what is no fault: debug traps, breakpoints, overflow; INT n and what devices want.
      let returns = [1, 3, 4].contains(vector) || vector >= 32
      put(returns ? code : [0xf4], at: Place.handlers + 16 * vector)
    }
    layOutPages()
    layOutDescriptors()
    layOutTasks()
    layOutRest(&self)
  }

  // MARK: - Access

  mutating func put(_ new: [UInt8], at address: UInt64) {
    bytes.replaceSubrange(Int(address)..<Int(address) + new.count, with: new)
  }

  mutating func put(_ value: UInt64, _ count: Int = 8, at address: UInt64) {
    for index in 0..<count {
      bytes[Int(address) + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
    }
  }

  func number(at address: UInt64) -> UInt64 {
    bytes[Int(address)..<Int(address) + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  // MARK: - Tables

  /// Pages of linear memory, beyond those that are mapped to themselves, and their entries.
  private static let mappings: [(page: UInt64, entry: UInt64)] = [
    (0x50, Place.device | 7), (0x51, 0xfee0_0000 | 7), (0x52, 0), (0x53, Place.data | 5),
    (0x54, Place.data + 0x1000 | 3), (0x55, 1 << 63 | Place.data + 0x2000 | 7),
    (0x56, Place.code | 7), (0x57, 0x1000_0000 | 7),
  ]

  private mutating func layOutPages() {
    put(Place.thirdLevel | 7, at: Place.fourthLevel)
    put(Place.thirdLevel | 7, at: Place.fourthLevel + 0xff8)
    put(Place.directory | 7, at: Place.thirdLevel)
    put(Place.directory | 7, at: Place.thirdLevel + 0xff0)
    put(Place.directory | 1, at: Place.directoryPointers)
    put(Place.table | 7, at: Place.directory)
    put(0x87, at: Place.directory + 8)  // a large page
    put(Place.plainTable | 7, 4, at: Place.plainDirectory)
    put(0x87, 4, at: Place.plainDirectory + 4)
    let identity = (0...Place.end >> 12).map { (page: $0, entry: $0 << 12 | 7) }
    for (page, entry) in identity + Self.mappings {
      put(entry, at: Place.table + 8 * page)
      put(entry, 4, at: Place.plainTable + 4 * page)
    }
  }

  private mutating func layOutDescriptors() {
    let descriptors: [UInt64] = [
      0, 0x00af_9b00_0000_ffff, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff,
      0x00cf_fb00_0000_ffff, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff,
      0x0000_9b01_8000_ffff,  // 38h: 16-bit code
      0x0000_8b01_2000_0200, 0,  // 40h: the task
      0x0000_8201_3000_00ff, 0,  // 50h: local descriptors
      0x0001_ec00_0010_4080, 0,  // 60h: a call gate
      0x0000_8901_2800_0067,  // 70h: another task,
      0x0000_e500_0070_0000,  // 78h: and a gate to it
      0x00cf_9700_0000_0fff,  // 80h: data that grow down
      0x00cf_9f00_0000_ffff,  // 88h: conforming code
      0x00cf_1300_0000_ffff,  // 90h: absent
      0x0000_f302_0000_ffff,  // 98h: 16-bit data
    ]
    for (slot, descriptor) in descriptors.enumerated() {
      put(descriptor, at: Place.descriptors + 8 * UInt64(slot))
      if slot < 8 { put(descriptor, at: Place.localDescriptors + 8 * UInt64(slot)) }
    }
  }

  private mutating func layOutTasks() {
    put(0x68, 2, at: Place.taskState + 102)
    for (offset, value) in [
      (28, Place.plainDirectory), (32, Place.handlers), (36, 2), (56, Place.stack + 0xc000),
      (72, 0x18), (76, 0x10), (80, 0x18), (84, 0x18),
    ] as [(UInt64, UInt64)] {
      put(value, 4, at: Place.otherTaskState + offset)
    }
    put(0x68, 2, at: Place.otherTaskState + 102)
  }

  private mutating func layOutGates(selector: UInt64, size: UInt64) {
    for vector in 0..<256 as Range<UInt64> {
      let handler = Place.handlers + 16 * vector
      put(
        handler & 0xffff | selector << 16 | 0xee00 << 32 | (handler >> 16) << 48,
        at: Place.interrupts + size * vector)
    }
  }
}
