import HostOS
import Monitor

/// Opens the file that an option names, to be read whole.
func wholeFile(_ option: String, _ path: String) throws(ConfigurationError) -> WholeFile {
  try reading(option, path) { () throws(HostError) in try WholeFile(path, limit: largestFile) }
}

/// The bytes of the file that an option names.
func contents(_ option: String, _ path: String) throws(ConfigurationError) -> [UInt8] {
  try reading(option, path) { () throws(HostError) in
    try HostFile.contents(of: path, limit: largestFile)
  }
}

private let largestFile = 2 << 30

private func reading<Result>(
  _ option: String, _ path: String, _ body: () throws(HostError) -> Result
) throws(ConfigurationError) -> Result {
  do throws(HostError) {
    return try body()
  } catch {
    throw ConfigurationError(
      "\(option) \(path)", "Roost cannot read the file (\(error.reason)); name one that it can.")
  }
}
