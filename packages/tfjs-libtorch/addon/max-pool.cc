// ATen's pooling keeps a position of eight bytes for each value and needs its input again on the way back. Here the position is a byte, and
// the way back goes from each input value to the windows that cover it, so that it is written once and needs no zeros before.
#include "max-pool.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "convert.h"
#include "environment.h"
#include "vectorized.h"

namespace chameleon {
namespace {

struct Window {
  int64_t height, width, down, right, top, left, out_height, out_width;
};

struct Picture {
  int64_t height, width, channels;
};

/// Channels that are walked over together, their largest values near the processor.
constexpr int64_t kBlock = 64;

struct Span {
  int64_t begin, end;
};

/// The places of a window at output position `at` that lie on the picture.
CHAMELEON_INLINE Span on_picture(int64_t at, int64_t stride, int64_t before, int64_t size, int64_t extent) {
  const int64_t first = at * stride - before;
  return {std::max<int64_t>(0, -first), std::min(size, extent - first)};
}

/// The output positions whose windows cover input position `at`.
CHAMELEON_INLINE Span covering(int64_t at, int64_t stride, int64_t before, int64_t size, int64_t outputs) {
  const int64_t beyond = at + before - size;
  return {beyond < 0 ? 0 : beyond / stride + 1, std::min(outputs, (at + before) / stride + 1)};
}

/// Calls `f(first, count)` over the channels; the count of whole blocks is known to the compiler, which keeps their values in registers.
template <class F>
CHAMELEON_INLINE void over_blocks(int64_t channels, F f) {
  int64_t first = 0;
  for (; first + kBlock <= channels; first += kBlock) f(first, kBlock);
  if (first < channels) f(first, channels - first);
}

/// The largest of one window; x is the place of the window's first row and column, be it on the picture or not.
template <bool kKeep, class T>
CHAMELEON_INLINE void largest(const T* x, const Picture& p, const Window& w, Span rows, Span columns, int64_t channels, T* y, uint8_t* positions) {
  float best[kBlock];
  int32_t where[kBlock];
  for (int64_t c = 0; c < channels; c++) best[c] = -std::numeric_limits<float>::infinity();
  for (int64_t c = 0; kKeep && c < channels; c++) where[c] = static_cast<int32_t>(rows.begin * w.width + columns.begin);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    for (int64_t column = columns.begin; column < columns.end; column++) {
      const T* from = x + (row * p.width + column) * p.channels;
      const auto here = static_cast<int32_t>(row * w.width + column);
      for (int64_t c = 0; c < channels; c++) {
        const float value = widened(from[c]);
        const bool larger = value > best[c] || value != value;
        best[c] = larger ? value : best[c];
        if (kKeep) where[c] = larger ? here : where[c];
      }
    }
  }
  for (int64_t c = 0; c < channels; c++) store(y + c, best[c]);
  for (int64_t c = 0; kKeep && c < channels; c++) positions[c] = static_cast<uint8_t>(where[c]);
}

/// Rows of the output, counted over the batch.
template <bool kKeep, class T>
CHAMELEON_INLINE void pool(const T* x, const Picture& p, const Window& w, int64_t begin, int64_t end, T* y, uint8_t* positions) {
  for (int64_t at = begin; at < end; at++) {
    const int64_t picture = at / w.out_height, out_row = at % w.out_height;
    const Span rows = on_picture(out_row, w.down, w.top, w.height, p.height);
    for (int64_t out_column = 0; out_column < w.out_width; out_column++) {
      const Span columns = on_picture(out_column, w.right, w.left, w.width, p.width);
      const int64_t from = ((picture * p.height + out_row * w.down - w.top) * p.width + out_column * w.right - w.left) * p.channels, to = (at * w.out_width + out_column) * p.channels;
      over_blocks(p.channels, [&](int64_t first, int64_t count) CHAMELEON_INLINED { largest<kKeep>(x + from + first, p, w, rows, columns, count, y + to + first, kKeep ? positions + to + first : nullptr); });
    }
  }
}

/// The gradient of one place of the input, of the windows that cover it; dy and positions are the picture's.
template <class T>
CHAMELEON_INLINE void gather(const T* dy, const uint8_t* positions, const Picture& p, const Window& w, int64_t row, int64_t column, Span out_rows, Span out_columns, int64_t channels, T* dx) {
  float sum[kBlock];
  for (int64_t c = 0; c < channels; c++) sum[c] = 0;
  for (int64_t out_row = out_rows.begin; out_row < out_rows.end; out_row++) {
    for (int64_t out_column = out_columns.begin; out_column < out_columns.end; out_column++) {
      const auto here = static_cast<int32_t>((row + w.top - out_row * w.down) * w.width + column + w.left - out_column * w.right);
      const int64_t from = (out_row * w.out_width + out_column) * p.channels;
      for (int64_t c = 0; c < channels; c++) {
        const float gradient = widened(dy[from + c]);
        const int32_t position = positions[from + c];
        sum[c] += position == here ? gradient : 0.0f;
      }
    }
  }
  for (int64_t c = 0; c < channels; c++) store(dx + c, sum[c]);
}

/// Rows of the input, counted over the batch.
template <class T>
CHAMELEON_INLINE void gather_all(const T* dy, const uint8_t* positions, const Picture& p, const Window& w, int64_t begin, int64_t end, T* dx) {
  for (int64_t at = begin; at < end; at++) {
    const int64_t row = at % p.height, from = at / p.height * w.out_height * w.out_width * p.channels;
    const Span out_rows = covering(row, w.down, w.top, w.height, w.out_height);
    for (int64_t column = 0; column < p.width; column++) {
      const Span out_columns = covering(column, w.right, w.left, w.width, w.out_width);
      const int64_t to = (at * p.width + column) * p.channels;
      over_blocks(p.channels, [&](int64_t first, int64_t count) CHAMELEON_INLINED { gather(dy + from + first, positions + from + first, p, w, row, column, out_rows, out_columns, count, dx + to + first); });
    }
  }
}

// Compiled for each processor: target_clones wants functions that are no templates.
#define CHAMELEON_ROWS(T)                                                                                                                                        \
  CHAMELEON_CLONES void pool_rows(const T* x, const Picture& p, const Window& w, int64_t begin, int64_t end, T* y, uint8_t* positions) {                        \
    positions == nullptr ? pool<false>(x, p, w, begin, end, y, positions) : pool<true>(x, p, w, begin, end, y, positions);                                      \
  }                                                                                                                                                              \
  CHAMELEON_CLONES void gather_rows(const T* dy, const uint8_t* positions, const Picture& p, const Window& w, int64_t begin, int64_t end, T* dx) {              \
    gather_all(dy, positions, p, w, begin, end, dx);                                                                                                                \
  }
CHAMELEON_ROWS(float)
CHAMELEON_ROWS(Half)
#undef CHAMELEON_ROWS

template <class T>
T* data(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

bool is_half(const at::Tensor& tensor, const char* what) {
  TORCH_CHECK(tensor.is_cpu() && tensor.dim() == 4 && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16), "max pooling takes ", what,
              " as float32 or bfloat16 of four dimensions on the CPU, not ", tensor.toString(), " ", tensor.sizes());
  return tensor.scalar_type() == at::kBFloat16;
}

void check(const Window& w) {
  TORCH_CHECK(w.height > 0 && w.width > 0 && w.height * w.width <= 256 && w.down > 0 && w.right > 0 && w.top >= 0 && w.left >= 0 && w.out_height >= 0 && w.out_width >= 0, "max pooling over windows of ",
              w.height, " x ", w.width, ", ", w.down, " x ", w.right, " apart, to ", w.out_height, " x ", w.out_width, " values");
}

std::vector<at::Tensor> forward(const at::Tensor& given, const Window& w, bool keep) {
  const bool half = is_half(given, "its input");
  const auto x = given.contiguous();
  const Picture p{x.size(1), x.size(2), x.size(3)};
  check(w);
  std::vector<at::Tensor> out{at::empty({x.size(0), w.out_height, w.out_width, p.channels}, x.options())};
  if (keep) out.push_back(at::empty(out[0].sizes(), at::kByte));
  uint8_t* positions = keep ? data<uint8_t>(out[1]) : nullptr;
  at::parallel_for(0, x.size(0) * w.out_height, 1, [&](int64_t begin, int64_t end) {
    half ? pool_rows(data<Half>(x), p, w, begin, end, data<Half>(out[0]), positions) : pool_rows(data<float>(x), p, w, begin, end, data<float>(out[0]), positions);
  });
  return out;
}

at::Tensor backward(const at::Tensor& given, const at::Tensor& given_positions, const std::vector<int64_t>& shape, const Window& w) {
  const bool half = is_half(given, "its gradient");
  const auto dy = given.contiguous(), positions = given_positions.contiguous();
  TORCH_CHECK(shape.size() == 4 && dy.sizes() == at::IntArrayRef({shape[0], w.out_height, w.out_width, shape[3]}) && positions.sizes() == dy.sizes() && positions.scalar_type() == at::kByte,
              "max pooling's gradient is ", dy.sizes(), " and its positions ", positions.toString(), " ", positions.sizes(), " for an input of ", at::IntArrayRef(shape));
  const Picture p{shape[1], shape[2], shape[3]};
  check(w);
  const auto dx = at::empty(shape, dy.options());
  at::parallel_for(0, shape[0] * p.height, 1, [&](int64_t begin, int64_t end) {
    half ? gather_rows(data<Half>(dy), data<uint8_t>(positions), p, w, begin, end, data<Half>(dx)) : gather_rows(data<float>(dy), data<uint8_t>(positions), p, w, begin, end, data<float>(dx));
  });
  return dx;
}

Window to_window(const Napi::Value& value) {
  const auto options = value.As<Napi::Object>();
  const auto pair = [&](const char* name) { return to_integers(options.Get(name)); };
  const auto size = pair("size"), strides = pair("strides"), corner = pair("corner"), output = pair("output");
  return {size.at(0), size.at(1), strides.at(0), strides.at(1), corner.at(0), corner.at(1), output.at(0), output.at(1)};
}

}  // namespace

Napi::Value max_pool(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    return from_ivalue(info.Env(), here, forward(here.tensors.get(info[0].As<Napi::Number>().DoubleValue()), to_window(info[1]), info[2].ToBoolean()));
  });
}

Napi::Value max_pool_backward(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    const auto tensor = [&](size_t i) { return here.tensors.get(info[i].As<Napi::Number>().DoubleValue()); };
    return from_ivalue(info.Env(), here, backward(tensor(0), tensor(1), to_integers(info[2]), to_window(info[3])));
  });
}

}  // namespace chameleon
