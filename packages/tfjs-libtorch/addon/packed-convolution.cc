// ATen 1.13 rounds each filter to bfloat16, lays it out for the processor forward and again backward, and gives a filter's gradient in
// bfloat16 and in another order than the filter's. oneDNN reads the float32 filter straight into the layout that it wants, and the
// gradient leaves it in float32 in the filter's own order, as the optimizer wants it. A frozen filter is laid out once, and its
// tensor is stowed there: a ResNet34's body of 81 MiB is not held twice, nor in bfloat16 once and a half.
#include "packed-convolution.h"

#include "batch-norm-line.h"
#include "convert.h"
#include "environment.h"
#include "onednn.h"
#include "winograd.h"

#if CHAMELEON_ONEDNN

#include <functional>
#include <map>
#include <optional>
#include <tuple>

namespace chameleon {

namespace {

using dnnl::memory;
using winograd::halves;
using onednn::Layout, onednn::as_it_lies, onednn::bytes, onednn::laid_out, onednn::reorder;

enum class Way { forward, input, filter };

/// What one shape is computed with. A primitive's scratch memory is the caller's, so that it comes from the allocator and goes again.
struct Plan {
  dnnl::primitive primitive;
  memory::desc source, filter, destination, scratch;
};

using Key = std::tuple<Way, std::vector<int64_t>, std::vector<int64_t>, int64_t, int64_t, at::ScalarType, bool, bool, bool>;

/// A convolution's shape, in ATen's order of axes.
struct Geometry {
  std::vector<int64_t> input, filter;
  int64_t strides, padding;
  at::ScalarType type;

  std::vector<int64_t> output() const {
    const auto out = [&](int64_t side, int64_t window) { return (side + 2 * padding - window) / strides + 1; };
    return {input[0], filter[0], out(input[2], filter[2]), out(input[3], filter[3])};
  }

  /// The same as a shape for Winograd's way, where that pays.
  std::optional<winograd::Shape> minimal() const {
    const winograd::Shape shape{input[0], input[2], input[3], input[1], filter[0]};
    const bool fits = type == at::kBFloat16 && strides == 1 && padding == 1 && filter[2] == 3 && filter[3] == 3;
    return fits && winograd::pays(shape) ? std::optional(shape) : std::nullopt;
  }
};

/// How a filter that doesn't change lies in memory, in each layout that was asked for; it goes about as a tensor of bytes, so that who
/// disposes the tensor disposes it.
struct Pack {
  static constexpr uint64_t kMark = 0x7061636b6564666c;
  uint64_t mark = kMark;
  /// The parameter; its tensor until the values are stowed in the first layout, and then what makes them again.
  double handle;
  at::Tensor filter;
  std::function<at::Tensor()> restore;
  /// [out, in, height, width].
  std::vector<int64_t> sizes;
  std::vector<Layout> layouts;
};

}  // namespace

struct ConvolutionPlans {
  static constexpr size_t kMost = 1024;
  std::map<Key, Plan> plans;
};

namespace {

memory::desc plain(const std::vector<int64_t>& shape, memory::data_type type) { return {memory::dims(shape.begin(), shape.end()), type, memory::format_tag::nhwc}; }

/// A value a channel, for all of the picture.
memory::desc of_channels(int64_t channels) { return {{1, channels, 1, 1}, memory::data_type::f32, memory::format_tag::nchw}; }

Plan plan_of(const Geometry& g, Way way, bool norm, bool sum, bool relu) {
  const auto type = onednn::type_of(g.type);
  const auto input = plain(g.input, type), output = plain(g.output(), type);
  const memory::dims filter_dims(g.filter.begin(), g.filter.end()), strides{g.strides, g.strides}, padding{g.padding, g.padding};
  const memory::desc filter(filter_dims, type, memory::format_tag::any);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops operations;
  if (norm) {
    operations.append_binary(dnnl::algorithm::binary_mul, of_channels(g.filter[0]));
    operations.append_binary(dnnl::algorithm::binary_add, of_channels(g.filter[0]));
  }
  if (sum) operations.append_sum();
  if (relu) operations.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
  attributes.set_post_ops(operations);
  const auto direct = dnnl::algorithm::convolution_direct;
  const auto forward_of = [&](const dnnl::primitive_attr& a) {
    const auto kind = norm ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
    return dnnl::convolution_forward::primitive_desc({kind, direct, input, filter, output, strides, padding, padding}, a, onednn::cpu());
  };
  if (way == Way::forward) {
    const auto made = forward_of(attributes);
    return {dnnl::convolution_forward(made), made.src_desc(), made.weights_desc(), made.dst_desc(), made.scratchpad_desc()};
  }
  const auto hint = forward_of(dnnl::primitive_attr());
  if (way == Way::input) {
    const dnnl::convolution_backward_data::primitive_desc made({direct, input, filter, output, strides, padding, padding}, attributes, onednn::cpu(), hint);
    return {dnnl::convolution_backward_data(made), made.diff_src_desc(), made.weights_desc(), made.diff_dst_desc(), made.scratchpad_desc()};
  }
  const memory::desc wide(filter_dims, memory::data_type::f32, memory::format_tag::any);
  const dnnl::convolution_backward_weights::primitive_desc made({direct, input, wide, output, strides, padding, padding}, attributes, onednn::cpu(), hint);
  return {dnnl::convolution_backward_weights(made), made.src_desc(), made.diff_weights_desc(), made.diff_dst_desc(), made.scratchpad_desc()};
}

const Plan& plan_for(Environment& here, const Geometry& g, Way way, bool norm = false, bool sum = false, bool relu = false) {
  if (!here.convolutions) here.convolutions = std::make_shared<ConvolutionPlans>();
  auto& plans = here.convolutions->plans;
  const Key key{way, g.input, g.filter, g.strides, g.padding, g.type, norm, sum, relu};
  const auto found = plans.find(key);
  if (found != plans.end()) return found->second;
  if (plans.size() >= ConvolutionPlans::kMost) plans.clear();
  return plans.emplace(key, plan_of(g, way, norm, sum, relu)).first->second;
}

void execute(const Plan& plan, std::unordered_map<int, memory> arguments) {
  const auto scratch = bytes(plan.scratch);
  arguments.emplace(DNNL_ARG_SCRATCHPAD, onednn::memory_of(plan.scratch, scratch));
  plan.primitive.execute(onednn::stream(), arguments);
  onednn::stream().wait();
}

/// Ours [height, width, in, out] as ATen's [out, in, height, width]: a view.
at::Tensor outward(const at::Tensor& filter) { return filter.permute({3, 2, 0, 1}); }

at::Tensor checked(const at::Tensor& filter) {
  TORCH_CHECK(filter.dim() == 4 && filter.scalar_type() == at::kFloat && filter.is_cpu(), "a filter is [height, width, in, out] in float32 on the CPU, not ", filter.toString(), " ", filter.sizes());
  return filter;
}

/// What bfloat16 leaves of float32 values, in their order in memory: the lower half of their bits, and those values whole that don't follow
/// from the halves (a tie that was rounded down, a NaN).
struct Remainder {
  at::Tensor low;
  std::vector<std::pair<int64_t, uint32_t>> others;
};

/// Rounding to nearest took the upper half one up where the lower is more than half of the way.
uint32_t joined(uint16_t rounded, uint16_t low) { return static_cast<uint32_t>(rounded - (low > 0x8000)) << 16 | low; }

/// The values of a layout as a tensor of ours, in memory as `strides` say.
at::Tensor unpacked(const Layout& layout, at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType type) {
  const auto filter = at::empty_strided(sizes, strides, type);
  reorder(layout, as_it_lies(outward(filter)));
  return filter;
}

Remainder remainder_of(const at::Tensor& filter, const Layout& layout) {
  const auto halves = unpacked(layout, filter.sizes(), filter.strides(), at::kBFloat16);
  Remainder remainder{at::empty({filter.numel()}, at::kShort), {}};
  const auto *bits = static_cast<const uint32_t*>(filter.data_ptr());
  const auto *rounded = static_cast<const uint16_t*>(halves.data_ptr());
  auto* low = static_cast<uint16_t*>(remainder.low.data_ptr());
  for (int64_t i = 0; i < filter.numel(); i++) {
    low[i] = static_cast<uint16_t>(bits[i]);
    if (joined(rounded[i], low[i]) != bits[i]) remainder.others.emplace_back(i, bits[i]);
  }
  return remainder;
}

at::Tensor whole(const Layout& layout, const Remainder& remainder, at::IntArrayRef sizes, at::IntArrayRef strides) {
  const auto halves = unpacked(layout, sizes, strides, at::kBFloat16), filter = at::empty_strided(sizes, strides, at::kFloat);
  const auto* rounded = static_cast<const uint16_t*>(halves.data_ptr());
  const auto* low = static_cast<const uint16_t*>(remainder.low.data_ptr());
  auto* bits = static_cast<uint32_t*>(filter.data_ptr());
  for (int64_t i = 0; i < filter.numel(); i++) bits[i] = joined(rounded[i], low[i]);
  for (const auto& [i, value] : remainder.others) bits[i] = value;
  return filter;
}

/// Where nobody has changed the parameter's tensor since, lets go of it: the layout holds its values, or in bfloat16 half of their bits.
void stow(Environment& here, Pack& pack, const Layout& layout) {
  const auto filter = pack.filter;
  if (!here.tensors.is(pack.handle, filter) || !filter.is_non_overlapping_and_dense()) return;
  const auto sizes = filter.sizes().vec(), strides = filter.strides().vec();
  if (layout.desc.data_type() == memory::data_type::f32) {
    pack.restore = [layout, sizes, strides] { return unpacked(layout, sizes, strides, at::kFloat); };
  } else {
    auto remainder = remainder_of(filter, layout);
    if (static_cast<int64_t>(remainder.others.size()) > filter.numel() / 64) return;
    pack.restore = [layout, sizes, strides, remainder = std::move(remainder)] { return whole(layout, remainder, sizes, strides); };
  }
  here.tensors.stow(pack.handle, pack.restore);
  pack.filter = at::Tensor();
}

at::Tensor layout_of(Environment& here, Pack& pack, const memory::desc& wanted) {
  for (const auto& [desc, bytes] : pack.layouts)
    if (desc == wanted) return bytes;
  const bool first = pack.layouts.empty();
  // Half of the bits are enough for another layout of halves.
  const bool enough = !first && (pack.layouts[0].desc.data_type() == memory::data_type::f32 || wanted.data_type() == memory::data_type::bf16);
  const auto source = enough && !pack.filter.defined() ? pack.layouts[0] : as_it_lies(outward(pack.filter.defined() ? pack.filter : pack.restore()));
  const auto made = laid_out(source, wanted);
  pack.layouts.push_back({wanted, made});
  if (first) stow(here, pack, pack.layouts[0]);
  return made;
}

/// A filter as a call was given it: as it is, or as a pack.
struct Given {
  std::vector<int64_t> sizes;
  at::Tensor filter;
  Pack* pack;

  at::Tensor in(Environment& here, const memory::desc& wanted) const { return pack == nullptr ? laid_out(as_it_lies(filter), wanted) : layout_of(here, *pack, wanted); }

  /// As it is, [out, in, height, width] in float32.
  at::Tensor values() const { return pack == nullptr ? filter : outward(pack->filter.defined() ? pack->filter : pack->restore()); }
};

Given given(Environment& here, const Napi::Value& value) {
  const auto tensor = here.tensors.get(value.As<Napi::Number>().DoubleValue());
  if (tensor.scalar_type() != at::kByte) {
    const auto filter = outward(checked(tensor));
    return {filter.sizes().vec(), filter, nullptr};
  }
  auto* pack = tensor.numel() == sizeof(Pack) ? static_cast<Pack*>(tensor.data_ptr()) : nullptr;
  TORCH_CHECK(pack != nullptr && pack->mark == Pack::kMark, "that is no packed filter");
  return {pack->sizes, at::Tensor(), pack};
}

/// BatchNorm by its running statistics; `parameters` are scale, shift, mean and variance.
Line line_of(const std::vector<at::Tensor>& parameters, double epsilon, int64_t channels) {
  const float *scale = channel_data(parameters[0], channels, "scale"), *shift = channel_data(parameters[1], channels, "shift");
  const float *mean = channel_data(parameters[2], channels, "running mean"), *variance = channel_data(parameters[3], channels, "running variance");
  return {channels, scale, shift, mean, inverse_deviation(variance, channels, epsilon).data()};
}

/// [batch, height, width, channels] in one piece.
at::Tensor image(Environment& here, const Napi::Value& value) {
  const auto tensor = here.tensors.get(value.As<Napi::Number>().DoubleValue());
  TORCH_CHECK(tensor.dim() == 4 && tensor.is_cpu() && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16),
              "a convolution takes [batch, height, width, channels] in float32 or bfloat16 on the CPU, not ", tensor.toString(), " ", tensor.sizes());
  return tensor.contiguous();
}

std::vector<int64_t> channels_first(at::IntArrayRef shape) { return {shape[0], shape[3], shape[1], shape[2]}; }

at::Tensor empty_image(const std::vector<int64_t>& shape, at::ScalarType type) { return at::empty({shape[0], shape[2], shape[3], shape[1]}, type); }

Geometry geometry(std::vector<int64_t> input, const std::vector<int64_t>& filter, const Napi::Value& strides, const Napi::Value& padding, at::ScalarType type) {
  Geometry g{std::move(input), filter, strides.As<Napi::Number>().Int64Value(), padding.As<Napi::Number>().Int64Value(), type};
  TORCH_CHECK(g.strides > 0 && g.padding >= 0, "a stride is positive, a padding is not negative");
  TORCH_CHECK(g.input.size() == 4 && g.filter.size() == 4 && g.input[1] == g.filter[1], "a filter for ", g.filter[1], " channels was given an input of ", g.input[1]);
  const auto output = g.output();
  TORCH_CHECK(output[2] > 0 && output[3] > 0, "the filter is larger than the picture");
  return g;
}

Napi::Value handle(const Napi::CallbackInfo& info, const at::Tensor& tensor) { return Napi::Number::New(info.Env(), environment(info.Env()).tensors.put(tensor)); }

}  // namespace

Napi::Value pack_filter(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const double of = info[0].As<Napi::Number>().DoubleValue();
    auto pack = std::make_unique<Pack>();
    pack->handle = of;
    pack->filter = checked(environment(info.Env()).tensors.get(of));
    pack->sizes = outward(pack->filter).sizes().vec();
    const auto release = [](void* pointer) { delete static_cast<Pack*>(pointer); };
    return handle(info, at::from_blob(pack.release(), {static_cast<int64_t>(sizeof(Pack))}, release, at::kByte));
  });
}

Napi::Value packed_convolution(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    const auto x = image(here, info[0]);
    const auto filter = given(here, info[1]);
    const auto g = geometry(channels_first(x.sizes()), filter.sizes, info[3], info[4], x.scalar_type());
    const auto summand = info[2].IsNumber() ? image(here, info[2]) : at::Tensor();
    TORCH_CHECK(!summand.defined() || (channels_first(summand.sizes()) == g.output() && summand.scalar_type() == g.type), "what is added to the convolution is of another shape or type");
    // oneDNN adds to what lies where the result goes.
    const auto y = !summand.defined() ? empty_image(g.output(), g.type) : info[6].ToBoolean() ? summand : summand.clone();
    if (x.numel() == 0) return handle(info, y);
    const auto parameters = info[7].IsNull() ? std::vector<at::Tensor>() : to_tensors(here, info[7]);
    const bool norm = !parameters.empty(), relu = info[5].ToBoolean();
    std::optional<Line> line;
    if (norm) line = line_of(parameters, info[8].As<Napi::Number>().DoubleValue(), g.filter[0]);
    if (const auto shape = g.minimal()) {
      winograd::convolve(halves(x), winograd::transformed(filter.values()), *shape, {norm ? line->factor.data() : nullptr, norm ? line->offset.data() : nullptr, summand.defined() ? halves(y) : nullptr, relu}, halves(y));
      return handle(info, y);
    }
    const Plan& plan = plan_for(here, g, Way::forward, norm, summand.defined(), relu);
    const auto weights = filter.in(here, plan.filter);
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, onednn::memory_of(plan.source, x)}, {DNNL_ARG_WEIGHTS, onednn::memory_of(plan.filter, weights)}, {DNNL_ARG_DST, onednn::memory_of(plan.destination, y)}};
    if (norm) {
      const auto operand = [&](int operation, std::vector<float>& values) { arguments.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(operation) | DNNL_ARG_SRC_1, memory(of_channels(g.filter[0]), onednn::cpu(), values.data())); };
      operand(0, line->factor);
      operand(1, line->offset);
    }
    execute(plan, std::move(arguments));
    return handle(info, y);
  });
}

Napi::Value packed_convolution_input_gradient(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    const auto dy = image(here, info[0]);
    const auto filter = given(here, info[1]);
    const auto g = geometry(channels_first(to_integers(info[2])), filter.sizes, info[3], info[4], dy.scalar_type());
    TORCH_CHECK(channels_first(dy.sizes()) == g.output(), "a gradient of shape ", dy.sizes(), " doesn't fit the convolution's output");
    const auto dx = empty_image(g.input, g.type);
    if (dx.numel() == 0) return handle(info, dx);
    if (const auto shape = g.minimal()) {
      winograd::convolve(halves(dy), winograd::transformed_backward(filter.values()), {shape->batch, shape->height, shape->width, shape->out, shape->in}, {}, halves(dx));
      return handle(info, dx);
    }
    const Plan& plan = plan_for(here, g, Way::input);
    const auto weights = filter.in(here, plan.filter);
    execute(plan, {{DNNL_ARG_DIFF_DST, onednn::memory_of(plan.destination, dy)}, {DNNL_ARG_WEIGHTS, onednn::memory_of(plan.filter, weights)}, {DNNL_ARG_DIFF_SRC, onednn::memory_of(plan.source, dx)}});
    return handle(info, dx);
  });
}

Napi::Value packed_convolution_filter_gradient(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& here = environment(info.Env());
    const auto dy = image(here, info[0]), x = image(here, info[1]);
    const auto shape = to_integers(info[2]);
    const auto g = geometry(channels_first(x.sizes()), {shape.at(3), shape.at(2), shape.at(0), shape.at(1)}, info[3], info[4], x.scalar_type());
    TORCH_CHECK(channels_first(dy.sizes()) == g.output() && dy.scalar_type() == g.type, "a gradient of shape ", dy.sizes(), " doesn't fit the convolution's output");
    // In memory [out, height, width, in], as core keeps filters.
    const auto gradient = at::empty({g.filter[0], g.filter[2], g.filter[3], g.filter[1]}, at::kFloat).permute({1, 2, 3, 0});
    if (x.numel() == 0) return handle(info, gradient.zero_());
    if (const auto shape = g.minimal()) {
      winograd::filter_gradient(halves(x), halves(dy), *shape, gradient.data_ptr<float>());
      return handle(info, gradient);
    }
    const Plan& plan = plan_for(here, g, Way::filter);
    const auto target = as_it_lies(outward(gradient));
    const bool direct = plan.filter == target.desc;
    const auto made = direct ? gradient : bytes(plan.filter);
    execute(plan, {{DNNL_ARG_DIFF_DST, onednn::memory_of(plan.destination, dy)}, {DNNL_ARG_SRC, onednn::memory_of(plan.source, x)}, {DNNL_ARG_DIFF_WEIGHTS, onednn::memory_of(plan.filter, made)}});
    if (!direct) reorder({plan.filter, made}, target);
    return handle(info, gradient);
  });
}

}  // namespace chameleon

#else

namespace chameleon {

struct ConvolutionPlans {};

Napi::Value pack_filter(const Napi::CallbackInfo& info) { throw Napi::Error::New(info.Env(), "the addon was compiled without oneDNN's headers"); }
Napi::Value packed_convolution(const Napi::CallbackInfo& info) { return pack_filter(info); }
Napi::Value packed_convolution_input_gradient(const Napi::CallbackInfo& info) { return pack_filter(info); }
Napi::Value packed_convolution_filter_gradient(const Napi::CallbackInfo& info) { return pack_filter(info); }

}  // namespace chameleon

#endif
