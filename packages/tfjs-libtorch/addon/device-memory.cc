#include "device-memory.h"

#include "versions.h"

#if defined(CHAMELEON_DEVICES_TELL_MEMORY)
#include <c10/core/CachingDeviceAllocator.h>
#endif

namespace chameleon {

#if defined(CHAMELEON_DEVICES_TELL_MEMORY)
namespace {

c10::DeviceIndex index_of(c10::Device device) { return device.has_index() ? device.index() : c10::DeviceIndex{0}; }

/// Null before the device's first tensor.
c10::DeviceAllocator* allocator_of(c10::Device device) {
  auto* allocator = c10::getDeviceAllocator(device.type());
  return allocator->initialized() ? allocator : nullptr;
}

}  // namespace
#endif

AllocatorStatistics memory_of(c10::Device device) {
  if (device.is_cpu()) return allocator_statistics();
#if defined(CHAMELEON_DEVICES_TELL_MEMORY)
  if (auto* allocator = allocator_of(device)) {
    const auto statistics = allocator->getDeviceStats(index_of(device));
    // The first of each is the sum over its pools of small and large blocks.
    const auto& allocated = statistics.allocated_bytes[0];
    return {allocated.current, allocated.peak, statistics.reserved_bytes[0].current - allocated.current};
  }
#endif
  return {0, 0, 0};
}

int64_t limit_of(c10::Device device) {
  if (device.is_cpu()) return memory_limit();
#if defined(CHAMELEON_DEVICES_TELL_MEMORY)
  if (auto* allocator = allocator_of(device)) {
    const auto held = memory_of(device);
    return held.live_bytes + held.cached_bytes + static_cast<int64_t>(allocator->getMemoryInfo(index_of(device)).first);
  }
#endif
  return 0;
}

void reset_peak(c10::Device device) {
  if (device.is_cpu()) return reset_peak();
#if defined(CHAMELEON_DEVICES_TELL_MEMORY)
  if (auto* allocator = allocator_of(device)) allocator->resetPeakStats(index_of(device));
#endif
}

void empty_cache(c10::Device device) {
  if (device.is_cpu()) return empty_cache();
#if defined(CHAMELEON_DEVICES_TELL_MEMORY)
  if (auto* allocator = allocator_of(device)) allocator->emptyCache();
#endif
}

}  // namespace chameleon
