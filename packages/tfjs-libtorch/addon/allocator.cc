#include "allocator.h"

#include "headroom.h"
#include "versions.h"

#include <c10/core/CPUAllocator.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

namespace chameleon {
namespace {

/// ATen wants a block's context to be its data, so the block's size stands before it.
constexpr size_t kHeader = 64;
constexpr size_t kGranule = 512;

/// Fresh memory of less than this is not asked about each time.
constexpr int64_t kUnasked = int64_t{1} << 20;

std::string mebibytes(int64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

struct CachingAllocator final : c10::Allocator {
  std::mutex mutex;
  std::multimap<size_t, char*> idle;
  AllocatorStatistics statistics{0, 0, 0};
  int64_t limit_bytes = INT64_MAX;
  /// Fresh bytes that may still be taken before the system is asked again what it has.
  int64_t unasked_bytes = 0;

  /// Never destroyed: tensors of other threads may outlive static objects.
  static CachingAllocator& instance() {
    static auto* allocator = new CachingAllocator();
    return *allocator;
  }

  static size_t& size_of(char* block) { return *reinterpret_cast<size_t*>(block); }

  static void release(void* data) {
    if (data == nullptr) return;
    auto& self = instance();
    char* block = static_cast<char*>(data) - kHeader;
    std::lock_guard<std::mutex> lock(self.mutex);
    const size_t size = size_of(block);
    self.statistics.live_bytes -= static_cast<int64_t>(size);
#if defined(__SANITIZE_ADDRESS__)
    // Kept blocks would hide from the sanitizer what reads memory that was let go.
    std::free(block);
#else
    self.statistics.cached_bytes += static_cast<int64_t>(size);
    self.idle.emplace(size, block);
#endif
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  /// The smallest idle block that is at most an eighth too large.
  char* take(size_t size) {
    auto found = idle.lower_bound(size);
    if (found == idle.end() || found->first > size + size / 8) return nullptr;
    char* block = found->second;
    statistics.cached_bytes -= static_cast<int64_t>(found->first);
    idle.erase(found);
    return block;
  }

  void drop_idle() {
    for (auto& entry : idle) std::free(entry.second);
    idle.clear();
    statistics.cached_bytes = 0;
#if defined(__GLIBC__)
    // glibc keeps what is freed for each thread's next need, also for threads that have ended.
    malloc_trim(0);
#endif
  }

  /// What tensors may take in all, and by whose word.
  Headroom limit() const {
    const auto left = headroom();
    const int64_t all = statistics.live_bytes + statistics.cached_bytes + std::max<int64_t>(left.bytes, 0);
    return all < limit_bytes ? Headroom{all, left.limit} : Headroom{limit_bytes, "limitMemory"};
  }

  /// Whether fresh memory may be taken beside what is live and kept. The system is asked after a sixteenth of what it had at the last time.
  bool may_take(int64_t wanted) {
    const int64_t held = statistics.live_bytes + statistics.cached_bytes;
    if (held + wanted > limit_bytes) return false;
    if (wanted > unasked_bytes) {
      const int64_t left = headroom().bytes;
      if (wanted > left) return false;
      unasked_bytes = std::max(left / 16, kUnasked);
    }
    unasked_bytes -= wanted;
    return true;
  }

  /// Fewer faults and look-ups of addresses; advice that the kernel may leave.
  static void prefer_huge_pages(char* memory, size_t size) {
    constexpr size_t kPage = size_t{2} << 20;
    const auto begin = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) / kPage * kPage, end = (reinterpret_cast<uintptr_t>(memory) + size) / kPage * kPage;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }

  char* fresh(size_t size) {
    void* memory = nullptr;
    const auto wanted = static_cast<int64_t>(size);
    const auto taken = [&] { return may_take(wanted) && posix_memalign(&memory, kHeader, size + kHeader) == 0; };
    if (!taken()) {
      drop_idle();
      if (!taken()) {
        const auto most = limit();
        throw OutOfMemory(wanted, statistics.live_bytes, most.bytes, most.limit);
      }
    }
    prefer_huge_pages(static_cast<char*>(memory), size);
    size_of(static_cast<char*>(memory)) = size;
    return static_cast<char*>(memory);
  }

  c10::DataPtr allocate_block(size_t bytes) {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::DeviceType::CPU};
    const size_t size = (bytes + kGranule - 1) / kGranule * kGranule;
    std::lock_guard<std::mutex> lock(mutex);
    char* block = take(size);
    if (block == nullptr) block = fresh(size);
    statistics.live_bytes += static_cast<int64_t>(size_of(block));
    statistics.peak_bytes = std::max(statistics.peak_bytes, statistics.live_bytes);
    return {block + kHeader, block + kHeader, &release, c10::DeviceType::CPU};
  }

#if defined(CHAMELEON_ALLOCATE_IS_CONST)
  c10::DataPtr allocate(size_t bytes) const override { return instance().allocate_block(bytes); }
#else
  c10::DataPtr allocate(size_t bytes) override { return allocate_block(bytes); }
  void copy_data(void* to, const void* from, std::size_t count) const override { default_copy_data(to, from, count); }
#endif
};

}  // namespace

OutOfMemory::OutOfMemory(int64_t wanted, int64_t live, int64_t limit, const std::string& of)
    : c10::OutOfMemoryError({__func__, __FILE__, static_cast<uint32_t>(__LINE__)},
                            "out of memory: " + std::to_string(wanted) + " bytes (" + mebibytes(wanted) + ") were wanted while tensors hold " + mebibytes(live) +
                                "; they may take " + mebibytes(limit) + " here, by " + of),
      wanted_bytes(wanted), live_bytes(live), limit_bytes(limit) {}

void install_caching_allocator() { c10::SetCPUAllocator(&CachingAllocator::instance(), 1); }

AllocatorStatistics allocator_statistics() {
  auto& allocator = CachingAllocator::instance();
  std::lock_guard<std::mutex> lock(allocator.mutex);
  return allocator.statistics;
}

void reset_peak() {
  auto& allocator = CachingAllocator::instance();
  std::lock_guard<std::mutex> lock(allocator.mutex);
  allocator.statistics.peak_bytes = allocator.statistics.live_bytes;
}

void limit_memory(int64_t bytes) {
  auto& allocator = CachingAllocator::instance();
  std::lock_guard<std::mutex> lock(allocator.mutex);
  allocator.limit_bytes = bytes > 0 ? bytes : INT64_MAX;
  // What was kept under another limit would go round this one.
  allocator.drop_idle();
}

int64_t memory_limit() {
  auto& allocator = CachingAllocator::instance();
  std::lock_guard<std::mutex> lock(allocator.mutex);
  return allocator.limit().bytes;
}

void empty_cache() {
  auto& allocator = CachingAllocator::instance();
  std::lock_guard<std::mutex> lock(allocator.mutex);
  allocator.drop_idle();
}

}  // namespace chameleon
