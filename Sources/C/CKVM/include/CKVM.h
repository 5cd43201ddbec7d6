#pragma once
#if defined(__linux__)
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

// What Swift's importer leaves out of <linux/kvm.h>: requests made by _IO macros, and ioctl itself.

/// Carries out a request; answers its result, or -errno.
static inline int kvm_request(int descriptor, unsigned long request, unsigned long argument) {
  int result = ioctl(descriptor, request, argument);
  return result < 0 ? -errno : result;
}
static inline int kvm_request_pointer(int descriptor, unsigned long request,
                                      void *_Nonnull argument) {
  int result = ioctl(descriptor, request, argument);
  return result < 0 ? -errno : result;
}

enum kvm_requests : unsigned long {
  KVM_REQUEST_GET_API_VERSION = KVM_GET_API_VERSION,
  KVM_REQUEST_CREATE_VM = KVM_CREATE_VM,
  KVM_REQUEST_CHECK_EXTENSION = KVM_CHECK_EXTENSION,
  KVM_REQUEST_GET_VCPU_MMAP_SIZE = KVM_GET_VCPU_MMAP_SIZE,
  KVM_REQUEST_GET_SUPPORTED_CPUID = KVM_GET_SUPPORTED_CPUID,

  KVM_REQUEST_ENABLE_CAP = KVM_ENABLE_CAP,
  KVM_REQUEST_SET_TSS_ADDR = KVM_SET_TSS_ADDR,
  KVM_REQUEST_SET_IDENTITY_MAP_ADDR = KVM_SET_IDENTITY_MAP_ADDR,
  KVM_REQUEST_SET_USER_MEMORY_REGION = KVM_SET_USER_MEMORY_REGION,
  KVM_REQUEST_CREATE_VCPU = KVM_CREATE_VCPU,
  KVM_REQUEST_IOEVENTFD = KVM_IOEVENTFD,
  KVM_REQUEST_IRQFD = KVM_IRQFD,
  KVM_REQUEST_SET_GSI_ROUTING = KVM_SET_GSI_ROUTING,
  KVM_REQUEST_SIGNAL_MSI = KVM_SIGNAL_MSI,
  KVM_REQUEST_GET_DIRTY_LOG = KVM_GET_DIRTY_LOG,
  KVM_REQUEST_CLEAR_DIRTY_LOG = KVM_CLEAR_DIRTY_LOG,
  KVM_REQUEST_RESET_DIRTY_RINGS = KVM_RESET_DIRTY_RINGS,
  KVM_REQUEST_REGISTER_COALESCED_MMIO = KVM_REGISTER_COALESCED_MMIO,
  KVM_REQUEST_UNREGISTER_COALESCED_MMIO = KVM_UNREGISTER_COALESCED_MMIO,
  KVM_REQUEST_SET_MSR_FILTER = KVM_X86_SET_MSR_FILTER,

  KVM_REQUEST_RUN = KVM_RUN,
  KVM_REQUEST_TRANSLATE = KVM_TRANSLATE,
  KVM_REQUEST_GET_REGS = KVM_GET_REGS,
  KVM_REQUEST_SET_REGS = KVM_SET_REGS,
  KVM_REQUEST_GET_SREGS = KVM_GET_SREGS,
  KVM_REQUEST_SET_SREGS = KVM_SET_SREGS,
  KVM_REQUEST_GET_MSRS = KVM_GET_MSRS,
  KVM_REQUEST_SET_MSRS = KVM_SET_MSRS,
  KVM_REQUEST_SET_CPUID2 = KVM_SET_CPUID2,
  KVM_REQUEST_GET_XSAVE = KVM_GET_XSAVE,
  KVM_REQUEST_SET_XSAVE = KVM_SET_XSAVE,
  KVM_REQUEST_GET_XCRS = KVM_GET_XCRS,
  KVM_REQUEST_SET_XCRS = KVM_SET_XCRS,
  KVM_REQUEST_GET_DEBUGREGS = KVM_GET_DEBUGREGS,
  KVM_REQUEST_SET_DEBUGREGS = KVM_SET_DEBUGREGS,
  KVM_REQUEST_GET_VCPU_EVENTS = KVM_GET_VCPU_EVENTS,
  KVM_REQUEST_SET_VCPU_EVENTS = KVM_SET_VCPU_EVENTS,
  KVM_REQUEST_GET_MP_STATE = KVM_GET_MP_STATE,
  KVM_REQUEST_SET_MP_STATE = KVM_SET_MP_STATE,
  KVM_REQUEST_GET_LAPIC = KVM_GET_LAPIC,
  KVM_REQUEST_SET_LAPIC = KVM_SET_LAPIC,
  KVM_REQUEST_SET_GUEST_DEBUG = KVM_SET_GUEST_DEBUG,
  KVM_REQUEST_NMI = KVM_NMI,
  KVM_REQUEST_GET_TSC_KHZ = KVM_GET_TSC_KHZ,
  KVM_REQUEST_SET_TSC_KHZ = KVM_SET_TSC_KHZ,
  KVM_REQUEST_HAS_DEVICE_ATTR = KVM_HAS_DEVICE_ATTR,
  KVM_REQUEST_GET_DEVICE_ATTR = KVM_GET_DEVICE_ATTR,
  KVM_REQUEST_SET_DEVICE_ATTR = KVM_SET_DEVICE_ATTR,
};

/// Makes the processor's next KVM_RUN, or the one it is in once a signal has interrupted that, return at
/// once. From any thread.
static inline void kvm_set_immediate_exit(struct kvm_run *_Nonnull run, uint8_t value) {
  __atomic_store_n(&run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

/// The host's time-stamp counter, not before what precedes the call.
static inline uint64_t kvm_host_tsc(void) {
#if defined(__x86_64__)
  __builtin_ia32_lfence();
  return __builtin_ia32_rdtsc();
#else
  return 0;
#endif
}

/// What the host's processor answers to CPUID.
static inline void kvm_host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *_Nonnull a,
                                  uint32_t *_Nonnull b, uint32_t *_Nonnull c,
                                  uint32_t *_Nonnull d) {
#if defined(__x86_64__)
  __asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(subleaf));
#else
  *a = *b = *c = *d = 0;
#endif
}

/// Sends the kick signal to a thread of this process, if it still is there.
void kvm_kick_thread(int thread, int signal_number);
/// Lets the calling thread take the kick signal; answers the thread, as `kvm_kick_thread` knows it.
int kvm_accept_kicks(int signal_number);

// Where the dirty ring lies in a processor's mapping, in pages.
enum { KVM_DIRTY_RING_PAGE = KVM_DIRTY_LOG_PAGE_OFFSET };

// Flags of a dirty ring's entries.
enum { KVM_DIRTY_ENTRY_IS_DIRTY = KVM_DIRTY_GFN_F_DIRTY, KVM_DIRTY_ENTRY_RESET = KVM_DIRTY_GFN_F_RESET };

// Flags of KVM_IOEVENTFD.
enum {
  KVM_DOORBELL_MATCHES = KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_DOORBELL_AT_PORT = KVM_IOEVENTFD_FLAG_PIO,
  KVM_DOORBELL_REMOVE = KVM_IOEVENTFD_FLAG_DEASSIGN,
};

/// An eventfd that does not block; -errno if there is none.
int kvm_make_event(void);

/// How many writes the coalescing ring of a page holds.
static inline uint32_t kvm_coalesced_capacity(uint32_t page_size) {
  return (page_size - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio);
}
/// The ring's entries follow its header.
static inline struct kvm_coalesced_mmio *_Nonnull kvm_coalesced_entries(
    struct kvm_coalesced_mmio_ring *_Nonnull ring) {
  return ring->coalesced_mmio;
}
static inline uint32_t kvm_load_acquire(const uint32_t *_Nonnull p) {
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static inline void kvm_store_release(uint32_t *_Nonnull p, uint32_t value) {
  __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/// The signal by which a processor's thread is called out of KVM_RUN; its handler does nothing.
int kvm_install_kick_signal(void);
#endif
