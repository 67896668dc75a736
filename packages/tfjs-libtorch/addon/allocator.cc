#include "allocator.h"

#include "versions.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>

namespace chameleon {
namespace {

/// ATen wants a block's context to be its data, so the block's size stands before it.
constexpr size_t kHeader = 64;
constexpr size_t kGranule = 512;

/// What the machine or its control group gives a process at most. Linux promises more than it has and then ends whoever takes it at its
/// word, so a limit has to be known to be an error.
int64_t available_bytes() {
  auto bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  int64_t group = 0;
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    // "max" is no number, and leaves the machine's.
    if (std::ifstream(path) >> group && group > 0) bytes = std::min(bytes, group);
  }
  return bytes;
}

struct CachingAllocator final : c10::Allocator {
  std::mutex mutex;
  std::multimap<size_t, char*> idle;
  AllocatorStatistics statistics{0, 0, 0};
  int64_t limit_bytes = available_bytes();

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
    if (statistics.live_bytes + statistics.cached_bytes + wanted > limit_bytes) drop_idle();
    const bool allowed = statistics.live_bytes + wanted <= limit_bytes;
    if (!allowed || posix_memalign(&memory, kHeader, size + kHeader) != 0) {
      drop_idle();
      TORCH_CHECK(allowed && posix_memalign(&memory, kHeader, size + kHeader) == 0, "out of memory: ", size, " bytes were asked for while ",
                  statistics.live_bytes, " are in use. A smaller batch needs less.");
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
  allocator.limit_bytes = bytes > 0 ? bytes : available_bytes();
  // What was kept under another limit would go round this one.
  allocator.drop_idle();
}

void empty_cache() {
  auto& allocator = CachingAllocator::instance();
  std::lock_guard<std::mutex> lock(allocator.mutex);
  allocator.drop_idle();
}

}  // namespace chameleon
