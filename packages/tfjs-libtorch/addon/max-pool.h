// Max pooling that remembers a byte for each value: where in its window the largest stood. The way back needs no more than that.
#pragma once

#include <napi.h>

namespace chameleon {

/// maxPool(x, { size, strides, corner, output }, keep) → [y, positions], without `keep` [y]: torch.nn.functional.max_pool2d of x, which is
/// [batch, height, width, channels] in float32 or bfloat16 on the CPU. `size`, `strides` and `output` are [height, width]; `corner` is how
/// many rows and columns of padding stand above and left of the picture. A window has at most 256 places; of equal values the first is the
/// largest, and a NaN is larger than any.
Napi::Value max_pool(const Napi::CallbackInfo& info);

/// maxPoolBackward(dy, positions, inputShape, { size, strides, corner, output }) → dx, of dy's type. Where windows overlap, sums are float32.
Napi::Value max_pool_backward(const Napi::CallbackInfo& info);

}  // namespace chameleon
