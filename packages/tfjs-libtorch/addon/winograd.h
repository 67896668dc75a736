// Convolutions of 3 x 3 with stride 1 and padding 1 in bfloat16, with 16 multiplications where there would be 36: Winograd's F(2 x 2, 3 x 3)
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.1).
#pragma once

#include <ATen/ATen.h>

#include "vectorized.h"

namespace chameleon::winograd {

/// A convolution that keeps the picture's size.
struct Shape {
  int64_t batch, height, width, in, out;
};

/// The values of a tensor in bfloat16.
inline Half* halves(const at::Tensor& tensor) { return static_cast<Half*>(tensor.data_ptr()); }

/// Whether this processor gains by it at all, and filters of so many channels can be transformed.
bool can_transform(int64_t in, int64_t out);

/// Whether that is so, and the pictures are not so small that most is computed for nothing.
bool pays(const Shape& shape);

/// A filter [out, in, 3, 3] in float32 or bfloat16, of whatever strides, as `convolve` wants it.
at::Tensor transformed(const at::Tensor& filter);

/// The same for the gradient of the input: what `convolve` is given then is the output's gradient, and `in` and `out` change places.
at::Tensor transformed_backward(const at::Tensor& filter);

/// What follows in the same pass over memory: y = relu(factor * y + offset + summand), each where it is there; a factor only with an offset.
struct Tail {
  const float *factor = nullptr, *offset = nullptr;
  const Half* summand = nullptr;
  bool relu = false;
};

/// x [batch, height, width, in] → y [batch, height, width, out]; the summand may lie where y goes.
void convolve(const Half* x, const at::Tensor& filter, const Shape& shape, const Tail& tail, Half* y);

/// The gradient of the filter, [out, 3, 3, in] in memory.
void filter_gradient(const Half* x, const Half* dy, const Shape& shape, float* gradient);

}  // namespace chameleon::winograd
