import Glibc

extension ConditionLock {
  struct Storage {
    let mutex: UnsafeMutablePointer<pthread_mutex_t>
    let condition: UnsafeMutablePointer<pthread_cond_t>

    init() {
      mutex = .allocate(capacity: 1)
      condition = .allocate(capacity: 1)
      pthread_mutex_init(mutex, nil)
      pthread_cond_init(condition, nil)
    }

    func destroy() {
      pthread_cond_destroy(condition)
      pthread_mutex_destroy(mutex)
      condition.deallocate()
      mutex.deallocate()
    }
  }

  package func lock() { pthread_mutex_lock(storage.mutex) }

  /// Takes the lock if nobody holds it.
  package func tryLock() -> Bool { pthread_mutex_trylock(storage.mutex) == 0 }

  package func unlock() { pthread_mutex_unlock(storage.mutex) }

  /// To be called with the lock held: lets go of it until somebody calls `wakeAll`; may return early.
  package func wait() { pthread_cond_wait(storage.condition, storage.mutex) }

  package func wakeAll() { pthread_cond_broadcast(storage.condition) }
}
