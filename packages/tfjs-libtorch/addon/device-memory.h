// The figures of the memory that tensors lie in: the processor's by our allocator, a GPU's by CUDA's.
#pragma once

#include <c10/core/Device.h>

#include "allocator.h"

namespace chameleon {

/// Of a GPU all figures are 0 where libtorch is older than 2.10: it tells them to programs with CUDA's headers alone.
AllocatorStatistics memory_of(c10::Device device);
/// What tensors may take there in all; 0 where that is not known.
int64_t limit_of(c10::Device device);
void reset_peak(c10::Device device);
void empty_cache(c10::Device device);

}  // namespace chameleon
