// Winograd's convolutions for TF.js's own kernels, where oneDNN's headers were not at hand for more.
#pragma once

#include <napi.h>

namespace chameleon {

/// minimalConvolution(x, filter) → y: of 3 x 3 with stride 1 and padding 1. x is [batch, height, width, in] in bfloat16, the filter
/// [3, 3, in, out]. Null where it doesn't pay, and ATen is to compute.
Napi::Value minimal_convolution(const Napi::CallbackInfo& info);

/// minimalConvolutionInputGradient(dy, filter) → dx, or null.
Napi::Value minimal_convolution_input_gradient(const Napi::CallbackInfo& info);

/// minimalConvolutionFilterGradient(dy, x) → the filter's gradient [3, 3, in, out] in float32, in memory as core keeps filters; or null.
Napi::Value minimal_convolution_filter_gradient(const Napi::CallbackInfo& info);

}  // namespace chameleon
