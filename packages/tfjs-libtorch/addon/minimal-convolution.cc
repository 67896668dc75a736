#include "minimal-convolution.h"

#include "environment.h"
#include "winograd.h"

namespace chameleon {
namespace {

using winograd::halves;

at::Tensor tensor_of(Environment& here, const Napi::Value& value) { return here.tensors.get(value.As<Napi::Number>().DoubleValue()); }

bool is_half_image(const at::Tensor& tensor) { return tensor.dim() == 4 && tensor.is_cpu() && tensor.scalar_type() == at::kBFloat16 && tensor.numel() > 0; }

/// The pictures' convolution to so many channels.
winograd::Shape shape_of(const at::Tensor& image, int64_t out) { return {image.size(0), image.size(1), image.size(2), image.size(3), out}; }

/// `backward`: the image is the output's gradient.
Napi::Value convolution(const Napi::CallbackInfo& info, bool backward) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    const auto given = tensor_of(here, info[0]), filter = tensor_of(here, info[1]);
    const int64_t in = backward ? 3 : 2, out = backward ? 2 : 3;
    if (!is_half_image(given) || filter.dim() != 4 || filter.size(0) != 3 || filter.size(1) != 3 || filter.size(in) != given.size(3) || !filter.is_cpu()) return info.Env().Null();
    const auto shape = shape_of(given, filter.size(out));
    if (!winograd::pays(shape)) return info.Env().Null();
    const auto x = given.contiguous(), y = at::empty({shape.batch, shape.height, shape.width, shape.out}, at::kBFloat16), outward = filter.permute({3, 2, 0, 1});
    winograd::convolve(halves(x), backward ? winograd::transformed_backward(outward) : winograd::transformed(outward), shape, {}, halves(y));
    return Napi::Number::New(info.Env(), here.tensors.put(y));
  });
}

}  // namespace

Napi::Value minimal_convolution(const Napi::CallbackInfo& info) { return convolution(info, false); }

Napi::Value minimal_convolution_input_gradient(const Napi::CallbackInfo& info) { return convolution(info, true); }

Napi::Value minimal_convolution_filter_gradient(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    const auto dy = tensor_of(here, info[0]), x = tensor_of(here, info[1]);
    if (!is_half_image(dy) || !is_half_image(x) || dy.sizes().slice(0, 3) != x.sizes().slice(0, 3)) return info.Env().Null();
    const auto shape = shape_of(x, dy.size(3));
    if (!winograd::pays(shape)) return info.Env().Null();
    const auto gradient = at::empty({shape.out, 3, 3, shape.in}, at::kFloat);
    winograd::filter_gradient(halves(x.contiguous()), halves(dy.contiguous()), shape, gradient.data_ptr<float>());
    return Napi::Number::New(info.Env(), here.tensors.put(gradient.permute({1, 2, 3, 0})));
  });
}

}  // namespace chameleon
