import CLibFuzzer
import FuzzTargets
import Glibc

// The target comes by the environment, because libFuzzer begins itself anew with the arguments it was given; without
// one, all are listed.
let name = getenv("FUZZ_TARGET").map { String(cString: $0) }
guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
  for target in FuzzTarget.all { print(target.name) }
  exit(name == nil ? 0 : 2)
}
let run = target.run
var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(
  LLVMFuzzerRunDriver(&count, &arguments) { data, count in
    run([UInt8](UnsafeBufferPointer(start: data, count: count)))
    return 0
  })
