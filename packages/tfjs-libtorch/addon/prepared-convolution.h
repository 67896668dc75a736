// Convolutions for inference: weights laid out once as the processor wants them, bias, sum and ReLU in one pass over the output.
#pragma once

#include <napi.h>

namespace chameleon {

/// Whether the library that libtorch computes with is there in the version that this was compiled for.
bool convolutions_can_be_prepared();

/// prepareConvolution(filter, bias, stride, padding, bfloat16): a handle that stands for the convolution and lets it go on release.
/// `filter` is [out, in, height, width], `bias` [out], both float32.
Napi::Value prepare_convolution(const Napi::CallbackInfo& info);

/// runConvolution(prepared, x, add, relu): y = relu(convolution(x) + bias + add). `x` is NCHW; `add` may be null, else it is
/// overwritten with y, and what comes back is another handle of it.
Napi::Value run_convolution(const Napi::CallbackInfo& info);

}  // namespace chameleon
