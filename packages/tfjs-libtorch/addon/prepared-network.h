// The convolutions and the pooling of a network, made ready once and run by one call.
#pragma once

#include <napi.h>

namespace chameleon {

/// Whether the processor multiplies bytes: AVX-512 VNNI or AVX VNNI. Without, sums of bytes' products may overflow, and are no faster.
bool processor_multiplies_bytes();

/// prepareNetwork(steps, values, bfloat16) → a handle that stands for the network, as a prepared convolution's does.
/// steps: { kind: 'convolution' | 'max-pool', input, output, add, relu, strides, padding, filter, bias }; values are named by their
/// number, 0 the pictures, `add` -1 where nothing is added; a pooling is of 3 x 3 with stride 2 and padding 1.
/// values: { scale, signed }; scale 0 keeps a value in float32 or bfloat16, another holds it as whole multiples of itself in 8 bits.
Napi::Value prepare_network(const Napi::CallbackInfo& info);

/// runNetwork(network, pictures NCHW float32) → the last step's value, NCHW, in float32 or bfloat16.
Napi::Value run_network(const Napi::CallbackInfo& info);

}  // namespace chameleon
