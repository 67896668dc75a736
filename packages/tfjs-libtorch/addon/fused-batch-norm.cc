// A network's time beside its convolutions goes over memory: BatchNorm reads its input twice to know it and once to change it, the sum
// and ReLU read and write it again, and so backward. Here the statistics are one pass and all the rest another, in either direction.
// Sums run in float32 over a few rows and in double over those, with a pivot near the mean, so one pass is as exact as two.
#include "fused-batch-norm.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "batch-norm-line.h"
#include "environment.h"
#include "vectorized.h"

namespace chameleon {
namespace {

/// Rows that are summed in float32 before they join the double sums.
constexpr int64_t kRows = 64;
enum class Mask { none, of_x, of_y };

/// first += x - pivot, second += (x - pivot)^2.
template <class T>
CHAMELEON_INLINE void add_squares(const T* x, int64_t rows, int64_t channels, const float* pivot, float* __restrict first, float* __restrict second) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4, x += 4 * channels) {
    for (int64_t c = 0; c < channels; c++) {
      const float p = pivot[c], a = widened(x[c]) - p, b = widened(x[channels + c]) - p, d = widened(x[2 * channels + c]) - p, e = widened(x[3 * channels + c]) - p;
      first[c] += (a + b) + (d + e);
      second[c] += (a * a + b * b) + (d * d + e * e);
    }
  }
  for (; row < rows; row++, x += channels) {
    for (int64_t c = 0; c < channels; c++) {
      const float a = widened(x[c]) - pivot[c];
      first[c] += a;
      second[c] += a * a;
    }
  }
}

template <bool kSum, bool kRelu, class T>
CHAMELEON_INLINE void apply(const T* x, const T* summand, T* y, int64_t rows, int64_t channels, const float* factor, const float* offset) {
  for (int64_t row = 0; row < rows; row++, x += channels, y += channels) {
    for (int64_t c = 0; c < channels; c++) {
      float value = widened(x[c]) * factor[c] + offset[c];
      if (kSum) value += widened(summand[c]);
      // Not std::max, which would turn a NaN into 0.
      if (kRelu) value = value < 0 ? 0 : value;
      store(y + c, value);
    }
    if (kSum) summand += channels;
  }
}

/// dy where ReLU let its input through.
template <Mask kMask, class T>
CHAMELEON_INLINE float through(T dy, T x, const T* y, int64_t c, const float* factor, const float* offset) {
  const float gradient = widened(dy);
  if (kMask == Mask::of_x) return widened(x) * factor[c] + offset[c] > 0 ? gradient : 0;
  if (kMask == Mask::of_y) return widened(y[c]) > 0 ? gradient : 0;
  return gradient;
}

/// first += g, second += g (x - mean), where g is dy behind ReLU, which is left in `kept` where that isn't null.
template <Mask kMask, bool kKeep, class T>
CHAMELEON_INLINE void add_products(const T* dy, const T* x, const T* y, T* kept, int64_t rows, int64_t channels, const float* factor, const float* offset, const float* mean, float* __restrict first,
                                   float* __restrict second) {
  for (int64_t row = 0; row < rows; row++, dy += channels, x += channels) {
    for (int64_t c = 0; c < channels; c++) {
      const float gradient = through<kMask>(dy[c], x[c], y, c, factor, offset);
      first[c] += gradient;
      second[c] += gradient * (widened(x[c]) - mean[c]);
      if (kKeep) store(kept + c, gradient);
    }
    if (kMask == Mask::of_y) y += channels;
    if (kKeep) kept += channels;
  }
}

/// dx = a g + b x + d.
template <Mask kMask, class T>
CHAMELEON_INLINE void input_gradient(const T* dy, const T* x, const T* y, T* dx, int64_t rows, int64_t channels, const float* factor, const float* offset, const float* a, const float* b, const float* d) {
  for (int64_t row = 0; row < rows; row++, dy += channels, x += channels, dx += channels) {
    for (int64_t c = 0; c < channels; c++) store(dx + c, a[c] * through<kMask>(dy[c], x[c], y, c, factor, offset) + b[c] * widened(x[c]) + d[c]);
    if (kMask == Mask::of_y) y += channels;
  }
}

// Compiled for each processor: target_clones wants functions that are no templates.
#define CHAMELEON_RANGES(T)                                                                                                                                                                    \
  CHAMELEON_CLONES void squares_range(const T* x, int64_t rows, int64_t channels, const float* pivot, float* first, float* second) { add_squares(x, rows, channels, pivot, first, second); }  \
  CHAMELEON_CLONES void apply_range(const T* x, const T* summand, T* y, int64_t rows, int64_t channels, const float* factor, const float* offset, bool relu) {                               \
    if (summand != nullptr && relu) return apply<true, true>(x, summand, y, rows, channels, factor, offset);                                                                                  \
    if (summand != nullptr) return apply<true, false>(x, summand, y, rows, channels, factor, offset);                                                                                         \
    if (relu) return apply<false, true>(x, summand, y, rows, channels, factor, offset);                                                                                                       \
    apply<false, false>(x, summand, y, rows, channels, factor, offset);                                                                                                                       \
  }                                                                                                                                                                                            \
  CHAMELEON_CLONES void products_range(const T* dy, const T* x, const T* y, T* kept, int64_t rows, int64_t channels, const float* factor, const float* offset, const float* mean,            \
                                       float* first, float* second, Mask mask) {                                                                                                              \
    if (mask == Mask::of_x) return add_products<Mask::of_x, false>(dy, x, y, kept, rows, channels, factor, offset, mean, first, second);                                                      \
    if (mask == Mask::of_y && kept != nullptr) return add_products<Mask::of_y, true>(dy, x, y, kept, rows, channels, factor, offset, mean, first, second);                                    \
    if (mask == Mask::of_y) return add_products<Mask::of_y, false>(dy, x, y, kept, rows, channels, factor, offset, mean, first, second);                                                      \
    add_products<Mask::none, false>(dy, x, y, kept, rows, channels, factor, offset, mean, first, second);                                                                                     \
  }                                                                                                                                                                                            \
  CHAMELEON_CLONES void gradient_range(const T* dy, const T* x, const T* y, T* dx, int64_t rows, int64_t channels, const float* factor, const float* offset, const float* a, const float* b,  \
                                       const float* d, Mask mask) {                                                                                                                           \
    if (mask == Mask::of_x) return input_gradient<Mask::of_x>(dy, x, y, dx, rows, channels, factor, offset, a, b, d);                                                                         \
    if (mask == Mask::of_y) return input_gradient<Mask::of_y>(dy, x, y, dx, rows, channels, factor, offset, a, b, d);                                                                         \
    input_gradient<Mask::none>(dy, x, y, dx, rows, channels, factor, offset, a, b, d);                                                                                                        \
  }
CHAMELEON_RANGES(float)
CHAMELEON_RANGES(Half)
#undef CHAMELEON_RANGES

struct Sums {
  std::vector<double> first, second;
};

/// Runs `range(row, rows, first, second)` over blocks of rows, a stretch of them a thread, and adds up what it left, in the threads' order.
template <class F>
Sums add_up(int64_t rows, int64_t channels, F range) {
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), rows * channels / (1 << 14)));
  std::vector<Sums> partial(static_cast<size_t>(parts), Sums{std::vector<double>(channels), std::vector<double>(channels)});
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> first(channels), second(channels);
    for (int64_t part = begin; part < end; part++) {
      auto& sums = partial[part];
      const int64_t last = (part + 1) * rows / parts;
      for (int64_t row = part * rows / parts; row < last; row += kRows) {
        std::fill(first.begin(), first.end(), 0.0f);
        std::fill(second.begin(), second.end(), 0.0f);
        range(row, std::min(kRows, last - row), first.data(), second.data());
        for (int64_t c = 0; c < channels; c++) {
          sums.first[c] += first[c];
          sums.second[c] += second[c];
        }
      }
    }
  });
  for (int64_t part = 1; part < parts; part++) {
    for (int64_t c = 0; c < channels; c++) {
      partial[0].first[c] += partial[part].first[c];
      partial[0].second[c] += partial[part].second[c];
    }
  }
  return partial[0];
}

template <class F>
void over_rows(int64_t rows, int64_t channels, F range) {
  at::parallel_for(0, rows, std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(1, channels)), [&](int64_t begin, int64_t end) { range(begin, end - begin); });
}

/// A tensor as rows of channels.
struct Rows {
  at::Tensor tensor;
  int64_t rows, channels;
  explicit Rows(const at::Tensor& given) : tensor(given.contiguous()), rows(given.numel() / std::max<int64_t>(1, given.size(-1))), channels(given.size(-1)) {
    TORCH_CHECK(given.is_cpu() && (given.scalar_type() == at::kFloat || given.scalar_type() == at::kBFloat16), "BatchNorm takes float32 or bfloat16 on the CPU, not ", given.toString());
  }
  template <class T>
  T* data() const {
    return static_cast<T*>(tensor.data_ptr());
  }
};

at::Tensor like(const Rows& rows, const at::Tensor& given, const char* what) {
  TORCH_CHECK(given.sizes() == rows.tensor.sizes() && given.scalar_type() == rows.tensor.scalar_type(), what, " is ", given.toString(), " ", given.sizes(), ", BatchNorm's input ",
              rows.tensor.toString(), " ", rows.tensor.sizes());
  return given.contiguous();
}

template <class T>
std::vector<float> pivot_of(const Rows& x) {
  std::vector<float> pivot(x.channels);
  // The first row of the picture in the middle: near the mean as any value is, and never far from all of them.
  const T* row = x.data<T>() + x.rows / 2 * x.channels;
  for (int64_t c = 0; c < x.channels; c++) {
    const float value = widened(row[c]);
    pivot[c] = std::isfinite(value) ? value : 0.0f;
  }
  return pivot;
}

/// Mean and biased variance of each channel.
template <class T>
std::pair<std::vector<double>, std::vector<double>> statistics(const Rows& x) {
  const auto pivot = pivot_of<T>(x);
  const T* data = x.data<T>();
  auto sums = add_up(x.rows, x.channels, [&](int64_t row, int64_t rows, float* first, float* second) { squares_range(data + row * x.channels, rows, x.channels, pivot.data(), first, second); });
  for (int64_t c = 0; c < x.channels; c++) {
    const double mean = sums.first[c] / x.rows;
    sums.second[c] = std::max(0.0, sums.second[c] / x.rows - mean * mean);
    sums.first[c] = pivot[c] + mean;
  }
  return {std::move(sums.first), std::move(sums.second)};
}

template <class T>
void apply_all(const Rows& x, const at::Tensor& summand, const at::Tensor& y, const Line& line, bool relu) {
  const T *from = x.data<T>(), *add = summand.defined() ? static_cast<const T*>(summand.data_ptr()) : nullptr;
  T* to = static_cast<T*>(y.data_ptr());
  over_rows(x.rows, x.channels, [&](int64_t row, int64_t rows) {
    const int64_t at = row * x.channels;
    apply_range(from + at, add == nullptr ? nullptr : add + at, to + at, rows, x.channels, line.factor.data(), line.offset.data(), relu);
  });
}

struct ForwardOptions {
  bool training, relu, in_place;
  double momentum, epsilon;
};

std::vector<at::Tensor> forward(const at::Tensor& given, const std::vector<at::Tensor>& parameters, const at::Tensor& summand, const ForwardOptions& o) {
  const Rows x(given);
  const int64_t channels = x.channels;
  const float *scale = channel_data(parameters[0], channels, "scale"), *shift = channel_data(parameters[1], channels, "shift");
  const float *mean = channel_data(parameters[2], channels, "running mean"), *variance = channel_data(parameters[3], channels, "running variance");
  const auto add = summand.defined() ? like(x, summand, "the summand") : at::Tensor();
  const auto y = o.in_place ? x.tensor : at::empty_like(x.tensor);
  const bool half = x.tensor.scalar_type() == at::kBFloat16;
  std::vector<at::Tensor> out{y};
  Line line = [&] {
    if (!o.training) return Line(channels, scale, shift, mean, inverse_deviation(variance, channels, o.epsilon).data());
    TORCH_CHECK(x.rows > 1, "Expected more than 1 value per channel when training, got input size ", given.sizes());
    const auto [batch_mean, batch_variance] = half ? statistics<Half>(x) : statistics<float>(x);
    for (int i = 0; i < 4; i++) out.push_back(at::empty({channels}, at::kFloat));
    float *m = out[1].data_ptr<float>(), *inverse = out[2].data_ptr<float>(), *running_mean = out[3].data_ptr<float>(), *running_variance = out[4].data_ptr<float>();
    const double unbiased = static_cast<double>(x.rows) / static_cast<double>(x.rows - 1);
    for (int64_t c = 0; c < channels; c++) {
      m[c] = static_cast<float>(batch_mean[c]);
      inverse[c] = static_cast<float>(1 / std::sqrt(batch_variance[c] + o.epsilon));
      running_mean[c] = static_cast<float>((1 - o.momentum) * mean[c] + o.momentum * batch_mean[c]);
      running_variance[c] = static_cast<float>((1 - o.momentum) * variance[c] + o.momentum * batch_variance[c] * unbiased);
    }
    return Line(channels, scale, shift, m, inverse);
  }();
  half ? apply_all<Half>(x, add, y, line, o.relu) : apply_all<float>(x, add, y, line, o.relu);
  return out;
}

struct BackwardOptions {
  double epsilon;
  bool relu, needs_input, needs_parameters, needs_sum;
};

template <class T>
std::vector<at::Tensor> backward(const at::Tensor& given, const Rows& x, const at::Tensor& y, const Line& line, const float* scale, const float* mean, const float* inverse, bool training, const BackwardOptions& o) {
  const int64_t channels = x.channels;
  const Mask mask = !o.relu ? Mask::none : y.defined() ? Mask::of_y : Mask::of_x;
  const auto at_row = [&](const at::Tensor& tensor, int64_t row) { return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) + row * channels : nullptr; };
  std::vector<at::Tensor> out(4);
  // Without ReLU the sum's gradient is dy itself.
  if (o.needs_sum) out[3] = mask == Mask::none ? given : at::empty_like(x.tensor);
  const auto kept = mask == Mask::none ? at::Tensor() : out[3];
  TORCH_CHECK(!kept.defined() || mask == Mask::of_y, "the gradient of a sum before ReLU needs ReLU's output");
  Sums sums{std::vector<double>(channels), std::vector<double>(channels)};
  if (training || o.needs_parameters || kept.defined()) {
    sums = add_up(x.rows, channels, [&](int64_t row, int64_t rows, float* first, float* second) {
      products_range(at_row(given, row), at_row(x.tensor, row), at_row(y, row), at_row(kept, row), rows, channels, line.factor.data(), line.offset.data(), mean, first, second, mask);
    });
  }
  if (o.needs_parameters) {
    out[1] = at::empty({channels}, at::kFloat);
    out[2] = at::empty({channels}, at::kFloat);
    for (int64_t c = 0; c < channels; c++) {
      out[1].data_ptr<float>()[c] = static_cast<float>(sums.second[c] * inverse[c]);
      out[2].data_ptr<float>()[c] = static_cast<float>(sums.first[c]);
    }
  }
  if (!o.needs_input) return out;
  // With the batch's statistics mean and deviation answer to x too (Ioffe and Szegedy, 2015, section 3).
  std::vector<float> a(channels), b(channels), d(channels);
  for (int64_t c = 0; c < channels; c++) {
    const double slope = static_cast<double>(scale[c]) * inverse[c], n = static_cast<double>(x.rows);
    const double of_x = training ? -slope * inverse[c] * inverse[c] * sums.second[c] / n : 0;
    a[c] = static_cast<float>(slope);
    b[c] = static_cast<float>(of_x);
    d[c] = static_cast<float>(training ? -slope * sums.first[c] / n - of_x * mean[c] : 0);
  }
  out[0] = at::empty_like(x.tensor);
  const auto& source = kept.defined() ? kept : given;
  const Mask left = kept.defined() ? Mask::none : mask;
  over_rows(x.rows, channels, [&](int64_t row, int64_t rows) {
    gradient_range(at_row(source, row), at_row(x.tensor, row), at_row(y, row), at_row(out[0], row), rows, channels, line.factor.data(), line.offset.data(), a.data(), b.data(), d.data(), left);
  });
  return out;
}

at::Tensor optional(Environment& here, const Napi::Value& value) { return value.IsNumber() ? here.tensors.get(value.As<Napi::Number>().DoubleValue()) : at::Tensor(); }

Napi::Value handles(const Napi::Env& env, Environment& here, const std::vector<at::Tensor>& tensors) {
  auto out = Napi::Array::New(env, tensors.size());
  for (size_t i = 0; i < tensors.size(); i++) {
    const Napi::Value value = tensors[i].defined() ? Napi::Value(Napi::Number::New(env, here.tensors.put(tensors[i]))) : env.Null();
    out.Set(static_cast<uint32_t>(i), value);
  }
  return out;
}

bool flag(const Napi::Object& options, const char* name) { return options.Get(name).ToBoolean(); }
double number(const Napi::Object& options, const char* name) { return options.Get(name).As<Napi::Number>().DoubleValue(); }

}  // namespace

Napi::Value fused_batch_norm(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    std::vector<at::Tensor> parameters;
    for (size_t i = 1; i < 5; i++) parameters.push_back(here.tensors.get(info[i].As<Napi::Number>().DoubleValue()));
    const auto options = info[6].As<Napi::Object>();
    const ForwardOptions o{flag(options, "training"), flag(options, "relu"), flag(options, "inPlace"), number(options, "momentum"), number(options, "epsilon")};
    return handles(info.Env(), here, forward(here.tensors.get(info[0].As<Napi::Number>().DoubleValue()), parameters, optional(here, info[5]), o));
  });
}

Napi::Value fused_batch_norm_backward(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    const auto tensor = [&](size_t i) { return optional(here, info[i]); };
    const auto options = info[9].As<Napi::Object>();
    const BackwardOptions o{number(options, "epsilon"), flag(options, "relu"), flag(options, "needsInput"), flag(options, "needsParameters"), flag(options, "needsSum")};
    const Rows x(tensor(1));
    const auto dy = like(x, tensor(0), "the gradient"), y = tensor(2).defined() ? like(x, tensor(2), "ReLU's output") : at::Tensor();
    const float *scale = channel_data(tensor(3), x.channels, "scale"), *shift = channel_data(tensor(4), x.channels, "shift");
    const bool training = info[7].IsNumber();
    const float* mean = channel_data(tensor(training ? 7 : 5), x.channels, "mean");
    std::vector<float> inverse(x.channels);
    if (training) {
      const float* given = channel_data(tensor(8), x.channels, "inverse deviation");
      std::copy(given, given + x.channels, inverse.begin());
    } else {
      inverse = inverse_deviation(channel_data(tensor(6), x.channels, "running variance"), x.channels, o.epsilon);
    }
    const Line line(x.channels, scale, shift, mean, inverse.data());
    const bool half = x.tensor.scalar_type() == at::kBFloat16;
    return handles(info.Env(), here, half ? backward<Half>(dy, x, y, line, scale, mean, inverse.data(), training, o) : backward<float>(dy, x, y, line, scale, mean, inverse.data(), training, o));
  });
}

}  // namespace chameleon
