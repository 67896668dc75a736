#include "allocator.h"

#include "headroom.h"
#include "versions.h"

#include <c10/core/CPUAllocator.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <new>
#include <set>
#include <string>

namespace chameleon {
namespace {

/// ATen wants a block's context to be its data, so what is known of the block stands before it.
constexpr size_t kHeader = 64;
constexpr size_t kGranule = 512;
/// From here on a request may be cut out of a larger block. Smaller ones, which often stay, would keep such a block from growing together again.
constexpr size_t kLarge = size_t{1} << 20;

/// A stretch of memory; the data follows it. Together with its neighbours it makes up what was once had from the system in one piece.
struct alignas(kHeader) Block {
  size_t size;
  Block *before, *after;
  bool large, idle;
  /// Its pages are the system's again; the next write has fresh ones.
  bool returned;

  char* data() { return reinterpret_cast<char*>(this) + kHeader; }
  static Block* of(void* data) { return reinterpret_cast<Block*>(static_cast<char*>(data) - kHeader); }
  bool is_whole() const { return before == nullptr && after == nullptr; }
};
static_assert(sizeof(Block) == kHeader, "a block's head has its place");

struct BySize {
  using is_transparent = void;
  bool operator()(const Block* a, const Block* b) const { return a->size != b->size ? a->size < b->size : std::less<const Block*>()(a, b); }
  bool operator()(const Block* a, size_t size) const { return a->size < size; }
};
using IdleBlocks = std::set<Block*, BySize>;

/// Fresh memory of less than this is not asked about each time.
constexpr int64_t kUnasked = int64_t{1} << 20;

const auto kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));
constexpr size_t kHugePage = size_t{2} << 20;

/// Advises the kernel on the whole pages of some memory.
void over_pages(char* memory, size_t size, size_t page, int advice) {
  const auto begin = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page, end = (reinterpret_cast<uintptr_t>(memory) + size) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

std::string mebibytes(int64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

/// Memory of the system's own for large blocks: glibc would keep what is freed, for needs that never come.
void* from_system(size_t size) {
#if !defined(__SANITIZE_ADDRESS__)
  if (size >= kLarge) {
    void* memory = mmap(nullptr, size + kHeader, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
  }
#endif
  void* memory = nullptr;
  return posix_memalign(&memory, kHeader, size + kHeader) == 0 ? memory : nullptr;
}

void to_system(Block* block) {
#if !defined(__SANITIZE_ADDRESS__)
  if (block->large) {
    munmap(block, block->size + kHeader);
    return;
  }
#endif
  std::free(block);
}

struct CachingAllocator final : c10::Allocator {
  std::mutex mutex;
  IdleBlocks small, large;
  AllocatorStatistics statistics{0, 0, 0};
  int64_t limit_bytes = INT64_MAX;
  /// Since the cache was emptied.
  int64_t most_live_bytes = 0;
  /// Fresh bytes that may still be taken before the system is asked again what it has.
  int64_t unasked_bytes = 0;

  /// Never destroyed: tensors of other threads may outlive static objects.
  static CachingAllocator& instance() {
    static auto* allocator = new CachingAllocator();
    return *allocator;
  }

  static void release(void* data) {
    if (data == nullptr) return;
    auto& self = instance();
    Block* block = Block::of(data);
    std::lock_guard<std::mutex> lock(self.mutex);
    self.statistics.live_bytes -= static_cast<int64_t>(block->size);
#if defined(__SANITIZE_ADDRESS__)
    // Kept blocks would hide from the sanitizer what reads memory that was let go.
    to_system(block);
#else
    if (block->before != nullptr && block->before->idle) block = self.join(block->before, block);
    if (block->after != nullptr && block->after->idle) block = self.join(block, block->after);
    self.keep(block);
#endif
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  IdleBlocks& idle_like(const Block* block) { return block->large ? large : small; }

  void keep(Block* block) {
    block->idle = true;
    idle_like(block).insert(block);
    if (!block->returned) statistics.cached_bytes += static_cast<int64_t>(block->size);
  }

  void unkeep(Block* block) {
    idle_like(block).erase(block);
    block->idle = false;
    if (!block->returned) statistics.cached_bytes -= static_cast<int64_t>(block->size);
  }

  /// Two neighbours as one that isn't kept, be either of them kept or not.
  Block* join(Block* first, Block* second) {
    for (Block* block : {first, second})
      if (block->idle) unkeep(block);
    first->size += kHeader + second->size;
    first->returned = first->returned && second->returned;
    first->after = second->after;
    if (first->after != nullptr) first->after->before = first;
    return first;
  }

  /// Leaves a block `size` bytes and keeps the rest.
  void cut(Block* block, size_t size) {
    const size_t left = block->size - size;
    if (left < kHeader + kGranule) return;
    auto* rest = new (block->data() + size) Block{left - kHeader, block, block->after, block->large, false, block->returned};
    if (rest->after != nullptr) rest->after->before = rest;
    block->after = rest;
    block->size = size;
    keep(rest);
  }

  /// The smallest idle block that is large enough, cut to size; of small ones it is at most an eighth too large.
  Block* take(size_t size) {
    if (statistics.live_bytes + static_cast<int64_t>(size) > limit_bytes) return nullptr;
    auto& idle = size < kLarge ? small : large;
    auto found = idle.lower_bound(size);
    if (found == idle.end() || (size < kLarge && (*found)->size > size + size / 8)) return nullptr;
    Block* block = *found;
    if (block->returned && !may_take(static_cast<int64_t>(size))) return nullptr;
    unkeep(block);
    if (block->large) cut(block, size);
    block->returned = false;
    return block;
  }

  /// Gives back blocks that are idle as a whole, the smallest first, until it is that many bytes.
  void drop_whole(IdleBlocks& idle, int64_t bytes) {
    for (auto next = idle.begin(); next != idle.end() && bytes > 0;) {
      Block* block = *next++;
      if (!block->is_whole()) continue;
      bytes -= static_cast<int64_t>(block->size);
      unkeep(block);
      to_system(block);
    }
  }

  /// Gives back what is idle as a whole, and of what lies between live tensors the pages.
  void drop_idle() {
    most_live_bytes = statistics.live_bytes;
    for (auto* idle : {&small, &large}) drop_whole(*idle, INT64_MAX);
    for (Block* block : large) {
      if (block->returned) continue;
      statistics.cached_bytes -= static_cast<int64_t>(block->size);
      block->returned = true;
      over_pages(block->data(), block->size, kPage, MADV_DONTNEED);
    }
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

  Block* fresh(size_t size) {
    void* memory = nullptr;
    const auto wanted = static_cast<int64_t>(size);
    // More than a sixteenth over what tensors ever took together, what is kept is of sizes that nobody wants.
    const int64_t most = std::max(most_live_bytes, statistics.live_bytes + wanted);
    drop_whole(large, statistics.live_bytes + statistics.cached_bytes + wanted - most - most / 16);
    const auto taken = [&] { return may_take(wanted) && (memory = from_system(size)) != nullptr; };
    if (!taken()) {
      drop_idle();
      if (!taken()) {
        const auto most = limit();
        throw OutOfMemory(wanted, statistics.live_bytes, most.bytes, most.limit);
      }
    }
    // Fewer faults and look-ups of addresses; advice that the kernel may leave.
    over_pages(static_cast<char*>(memory), size, kHugePage, MADV_HUGEPAGE);
    return new (memory) Block{size, nullptr, nullptr, size >= kLarge, false, false};
  }

  c10::DataPtr allocate_block(size_t bytes) {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::DeviceType::CPU};
    const size_t size = (bytes + kGranule - 1) / kGranule * kGranule;
    std::lock_guard<std::mutex> lock(mutex);
    Block* block = take(size);
    if (block == nullptr) block = fresh(size);
    statistics.live_bytes += static_cast<int64_t>(block->size);
    statistics.peak_bytes = std::max(statistics.peak_bytes, statistics.live_bytes);
    most_live_bytes = std::max(most_live_bytes, statistics.live_bytes);
    return {block->data(), block->data(), &release, c10::DeviceType::CPU};
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

void install_caching_allocator() {
  c10::SetCPUAllocator(&CachingAllocator::instance(), 1);
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
  // Left to itself glibc takes each large block that is let go, a checkpoint's bytes for one, as a reason to keep blocks of that size in its
  // heap, which then grows with the holes between them: by 70 MB over 3,000 steps, where it now stays as it is.
  mallopt(M_MMAP_THRESHOLD, static_cast<int>(kLarge));
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
#endif
}

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
