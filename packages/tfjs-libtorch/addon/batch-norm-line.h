// BatchNorm by statistics that are known: a line for each channel.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace chameleon {

inline const float* channel_data(const at::Tensor& tensor, int64_t channels, const char* what) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.numel() == channels && tensor.is_contiguous(), "BatchNorm's ", what, " is float32, a value a channel (", channels, "), not ",
              tensor.toString(), " ", tensor.sizes());
  return tensor.data_ptr<float>();
}

/// What BatchNorm does to a channel: x * factor + offset.
struct Line {
  std::vector<float> factor, offset;
  Line(int64_t channels, const float* scale, const float* shift, const float* mean, const float* inverse) : factor(channels), offset(channels) {
    for (int64_t c = 0; c < channels; c++) {
      factor[c] = scale[c] * inverse[c];
      offset[c] = shift[c] - mean[c] * factor[c];
    }
  }
};

/// 1 / deviation of each channel.
inline std::vector<float> inverse_deviation(const float* variance, int64_t channels, double epsilon) {
  std::vector<float> inverse(channels);
  for (int64_t c = 0; c < channels; c++) inverse[c] = static_cast<float>(1 / std::sqrt(variance[c] + epsilon));
  return inverse;
}

}  // namespace chameleon
