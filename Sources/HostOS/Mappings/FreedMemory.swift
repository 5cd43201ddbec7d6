import CHostOS

/// Gives memory back to the host that was freed and is not likely to be needed again: after something large was read,
/// unpacked and let go.
package func releaseFreedMemory() { roost_release_freed_memory() }
