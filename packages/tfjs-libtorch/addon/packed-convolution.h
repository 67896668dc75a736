// Convolutions of a training step, forward and backward, by oneDNN itself.
#pragma once

#include <napi.h>

#include <memory>

namespace chameleon {

/// The primitives that an environment has made, by shape.
struct ConvolutionPlans;

/// packFilter(filter) → a handle that keeps, for a filter that doesn't change, how the processor wants it. Once it was laid out the
/// filter's own handle holds no values any more (in bfloat16 half of their bits), and makes them again for whoever asks.
Napi::Value pack_filter(const Napi::CallbackInfo& info);

/// packedConvolution(x, filter | pack, summand | null, strides, padding, relu, inPlace, [scale, shift, mean, variance] | null, epsilon) →
/// relu(BatchNorm(convolution(x)) + summand), with inPlace where the summand lay. x and y are [batch, height, width, channels], a filter
/// [height, width, in, out] in float32; x's type is the arithmetic's.
Napi::Value packed_convolution(const Napi::CallbackInfo& info);

/// packedConvolutionInputGradient(dy, filter | pack, inputShape, strides, padding) → dx.
Napi::Value packed_convolution_input_gradient(const Napi::CallbackInfo& info);

/// packedConvolutionFilterGradient(dy, x, filterShape, strides, padding) → the filter's gradient in float32, in memory as core keeps filters.
Napi::Value packed_convolution_filter_gradient(const Napi::CallbackInfo& info);

}  // namespace chameleon
