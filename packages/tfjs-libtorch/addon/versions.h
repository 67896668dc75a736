// What differs between libtorch 1.13 and 2.x, in one place.
#pragma once

#include <torch/version.h>

#if TORCH_VERSION_MAJOR < 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 3)
#define CHAMELEON_ALLOCATE_IS_CONST  // c10::Allocator::allocate was a const member until 2.3
#endif

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 10)
#define CHAMELEON_DEVICES_TELL_MEMORY  // c10::DeviceAllocator has a device's figures, without CUDA's headers
#endif
