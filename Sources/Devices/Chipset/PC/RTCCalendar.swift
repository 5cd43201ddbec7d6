/// A moment as the real-time clock's registers divide it: Gregorian, without time zone or leap seconds.
struct RTCCalendar: Sendable, Hashable, Codable {
  var second: UInt8
  var minute: UInt8
  /// 0 to 23.
  var hour: UInt8
  /// 1 is Sunday.
  var weekday: UInt8
  /// 1 to 31.
  var day: UInt8
  /// 1 to 12.
  var month: UInt8
  /// 0 to 99, in the century.
  var year: UInt8
  /// 0 to 99.
  var century: UInt8

  private static let secondsPerDay: Int64 = 86_400
  /// From 1 March 0000 to 1 January 1970.
  private static let daysBefore1970: Int64 = 719_468
  private static let daysPerFourCenturies: Int64 = 146_097
  /// The years 0 to 9999 are all that the registers can say.
  private static let expressible: ClosedRange<Int64> = -62_167_219_200...253_402_300_799

  /// The calendar of a moment, given in seconds since 1970-01-01T00:00:00Z.
  init(secondsSince1970 seconds: Int64) {
    let seconds = min(max(seconds, Self.expressible.lowerBound), Self.expressible.upperBound)
    let days = Self.floorDivide(seconds, Self.secondsPerDay)
    let secondOfDay = seconds - days * Self.secondsPerDay
    second = UInt8(truncatingIfNeeded: secondOfDay % 60)
    minute = UInt8(truncatingIfNeeded: secondOfDay / 60 % 60)
    hour = UInt8(truncatingIfNeeded: secondOfDay / 3600)
    weekday = UInt8(truncatingIfNeeded: (days % 7 + 11) % 7 + 1)  // the day 0 was a Thursday

    // Years that begin in March have their leap day last, so that months fall into a pattern: five
    // of them always have 153 days.
    let day = days + Self.daysBefore1970
    let era = Self.floorDivide(day, Self.daysPerFourCenturies)
    let dayOfEra = day - era * Self.daysPerFourCenturies
    let leaps = dayOfEra / 1460 - dayOfEra / 36_524 + dayOfEra / 146_096
    let yearOfEra = (dayOfEra - leaps) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
    self.day = UInt8(truncatingIfNeeded: dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    self.month = UInt8(truncatingIfNeeded: month)
    self.year = UInt8(truncatingIfNeeded: year % 100)
    century = UInt8(truncatingIfNeeded: year / 100)
  }

  /// The moment, in seconds since 1970. Whatever the registers hold: too large a day runs into the
  /// next month, a month that does not exist counts for the nearest that does.
  var secondsSince1970: Int64 {
    let month = Int64(min(max(self.month, 1), 12))
    let year = Int64(century) * 100 + Int64(self.year) - (month <= 2 ? 1 : 0)
    let era = Self.floorDivide(year, 400)
    let yearOfEra = year - era * 400
    let monthFromMarch = month > 2 ? month - 3 : month + 9
    let dayOfYear = (153 * monthFromMarch + 2) / 5 + Int64(day) - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    let days = era * Self.daysPerFourCenturies + dayOfEra - Self.daysBefore1970
    return days * Self.secondsPerDay + Int64(hour) * 3600 + Int64(minute) * 60 + Int64(second)
  }

  private static func floorDivide(_ a: Int64, _ b: Int64) -> Int64 {
    a >= 0 ? a / b : (a + 1) / b - 1
  }
}

/// How register B says that numbers are written.
struct RTCFormat: Sendable {
  /// DM: binary rather than two decimal digits.
  var isBinary: Bool
  /// 24 hours; else 12, with bit 7 for the afternoon.
  var has24Hours: Bool

  func encode(_ value: UInt8) -> UInt8 {
    isBinary ? value : UInt8(truncatingIfNeeded: (UInt16(value) / 10) << 4 | UInt16(value) % 10)
  }

  func decode(_ register: UInt8) -> UInt8 {
    isBinary ? register : (register >> 4) * 10 + register & 0x0f
  }

  func encode(hour: UInt8) -> UInt8 {
    guard !has24Hours else { return encode(hour) }
    let twelve = hour % 12 == 0 ? 12 : hour % 12
    return encode(twelve) | (hour >= 12 ? 0x80 : 0)
  }

  func decode(hour register: UInt8) -> UInt8 {
    guard !has24Hours else { return decode(register) }
    return decode(register & 0x7f) % 12 + (register & 0x80 != 0 ? 12 : 0)
  }
}
