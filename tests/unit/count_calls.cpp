// Counts what a native call asks of the C library: memory, and locks. To be loaded before it (LD_PRELOAD).
#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> memory{0}, locks{0};

void count(std::atomic<int64_t>& calls) {
  if (counting) ++calls;
}

// The C library's own function. Not through a static local: its guard may take a lock.
template <class Function>
Function real(std::atomic<void*>& known, const char* name) {
  if (!known) known = dlsym(RTLD_NEXT, name);
  return reinterpret_cast<Function>(known.load());
}

std::atomic<void*> real_mmap{nullptr}, real_munmap{nullptr}, real_lock{nullptr};

}  // namespace

extern "C" {

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t size) {
  count(memory);
  return __libc_malloc(size);
}

void* calloc(size_t number, size_t size) {
  count(memory);
  return __libc_calloc(number, size);
}

void* realloc(void* old, size_t size) {
  count(memory);
  return __libc_realloc(old, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  count(memory);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void** made, size_t alignment, size_t size) {
  count(memory);
  *made = __libc_memalign(alignment, size);
  return *made ? 0 : 12;  // ENOMEM
}

void free(void* old) {
  count(memory);
  __libc_free(old);
}

void* mmap(void* at, size_t size, int protection, int flags, int file, off_t offset) {
  count(memory);
  return real<decltype(&mmap)>(real_mmap, "mmap")(at, size, protection, flags, file, offset);
}

int munmap(void* at, size_t size) {
  count(memory);
  return real<decltype(&munmap)>(real_munmap, "munmap")(at, size);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  count(locks);
  return real<decltype(&pthread_mutex_lock)>(real_lock, "pthread_mutex_lock")(mutex);
}

// Call a function of up to five words, and say how often any thread asked for memory and for a lock.
int64_t counted(int64_t (*call)(int64_t, int64_t, int64_t, int64_t, int64_t), int64_t a, int64_t b,
                int64_t c, int64_t d, int64_t e, int64_t* calls) {
  memory = locks = 0;
  counting = true;
  const int64_t result = call(a, b, c, d, e);
  counting = false;
  calls[0] = memory;
  calls[1] = locks;
  return result;
}

}  // extern "C"
