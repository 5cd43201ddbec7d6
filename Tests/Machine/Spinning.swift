import Glibc

/// Waits without sleeping for what another thread does within a microsecond; where there are more threads
/// than processors, lets that thread run.
func spin(until condition: () -> Bool) {
  var turns = 0
  while !condition() {
    turns += 1
    if turns.isMultiple(of: 1000) { sched_yield() }
  }
}
