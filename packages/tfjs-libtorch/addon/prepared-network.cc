// A picture through ResNet34 is 36 convolutions of less than half a millisecond: called one by one, with a tensor made for each and
// ATen's pooling, they took 18.5 ms, of which oneDNN's share was 15. Here a network is a list of primitives over one block of memory.
#include "prepared-network.h"

#include "environment.h"
#include "onednn.h"
#include "winograd.h"

#if CHAMELEON_ONEDNN

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <tuple>
#include <unordered_map>

namespace chameleon {
namespace {

using dnnl::memory;
using onednn::cpu;
using onednn::stream;

/// How a value is held: as it is (scale 0), or as a whole number of scales.
struct Value {
  float scale;
  bool is_signed;
};

struct Step {
  bool convolves;
  int64_t input, output, add;
  bool relu;
  int64_t stride, padding;
  at::Tensor filter, bias;
  /// The filter's, [out, in, height, width].
  std::vector<int64_t> sizes;
  /// Of a filter in bytes: what one stands for, for each output channel.
  std::vector<float> filter_scales;
  std::vector<std::pair<memory::desc, at::Tensor>> packed;
  /// For Winograd's way, instead of the filter, where that allows it.
  at::Tensor transformed;
};

using Execution = std::function<void()>;

Execution execution_of(const dnnl::primitive& primitive, const std::unordered_map<int, memory>& arguments) {
  return [=] { primitive.execute(stream(), arguments); };
}

/// What one shape of input is computed with. Offsets are those of the memories in the block that all plans share.
struct Plan {
  std::vector<Execution> executions;
  std::vector<std::pair<memory, size_t>> placed;
  size_t bytes = 0;
  const void* block = nullptr;
  memory pictures, result;
  std::vector<int64_t> result_shape;
};

/// Symmetric, for each output channel by itself (Jacob and others, 2018; Krishnamoorthi, 2018, section 3.1).
void quantize_filter(Step& step) {
  const auto outputs = step.filter.size(0);
  auto scales = step.filter.abs().reshape({outputs, -1}).amax(1) / 127;
  scales = at::where(scales > 0, scales, at::ones_like(scales));
  step.filter = (step.filter / scales.reshape({outputs, 1, 1, 1})).round().clamp(-127, 127).to(at::kChar).contiguous();
  step.filter_scales.assign(scales.data_ptr<float>(), scales.data_ptr<float>() + outputs);
}

/// Gives places in a block: the lowest that no living value holds.
class Places {
 public:
  size_t take(size_t size) {
    size = (size + 63) / 64 * 64;
    size_t at = 0;
    for (const auto& [from, length] : living_) {
      if (from >= at + size) break;
      at = std::max(at, from + length);
    }
    living_[at] = size;
    most_ = std::max(most_, at + size);
    return at;
  }
  void give_back(size_t at) { living_.erase(at); }
  size_t most() const { return most_; }

 private:
  std::map<size_t, size_t> living_;
  size_t most_ = 0;
};

class PreparedNetwork {
 public:
  PreparedNetwork(std::vector<Step> steps, std::vector<Value> values, at::ScalarType wide) : steps_(std::move(steps)), values_(std::move(values)), wide_(wide), last_use_(values_.size(), -1) {
    for (size_t i = 0; i < steps_.size(); i++) {
      auto& step = steps_[i];
      for (const auto value : {step.input, step.output}) TORCH_CHECK(value >= 0 && value < static_cast<int64_t>(values_.size()), "there is no value ", value, " in the network");
      TORCH_CHECK(step.add < static_cast<int64_t>(values_.size()), "there is no value ", step.add, " in the network");
      last_use_[step.input] = static_cast<int64_t>(i);
      if (step.add >= 0) last_use_[step.add] = static_cast<int64_t>(i);
      if (!step.convolves) continue;
      TORCH_CHECK(step.filter.dim() == 4 && step.filter.scalar_type() == at::kFloat, "a filter to prepare is [out, in, height, width] in float32");
      TORCH_CHECK(step.bias.dim() == 1 && step.bias.size(0) == step.filter.size(0) && step.bias.scalar_type() == at::kFloat, "a bias to prepare is [out] in float32");
      TORCH_CHECK(step.stride > 0 && step.padding >= 0, "a stride is positive, a padding is not negative");
      step.sizes = step.filter.sizes().vec();
      if (quantized(step.input))
        quantize(step);
      else
        widen(step);
    }
    TORCH_CHECK(!steps_.empty() && !quantized(0) && !quantized(steps_.back().output), "a network takes and gives values that are not quantised");
  }

  at::Tensor run(const at::Tensor& given) {
    TORCH_CHECK(given.dim() == 4 && given.size(1) == steps_[0].sizes[1], "the network takes ", steps_[0].sizes[1], " channels, and was given ", given.sizes());
    const auto x = given.to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
    Plan& plan = plan_for(x);
    const auto y = at::empty(plan.result_shape, x.options().dtype(wide_).memory_format(at::MemoryFormat::ChannelsLast));
    if (x.numel() == 0) return y;
    if (!block_.defined() || block_.nbytes() < plan.bytes) block_ = at::empty({static_cast<int64_t>(plan.bytes)}, at::kByte);
    if (plan.block != block_.data_ptr()) {
      plan.block = block_.data_ptr();
      for (auto& [place, offset] : plan.placed) place.set_data_handle(static_cast<char*>(block_.data_ptr()) + offset);
    }
    plan.pictures.set_data_handle(x.data_ptr());
    plan.result.set_data_handle(y.data_ptr());
    for (const auto& execute : plan.executions) execute();
    stream().wait();
    return y;
  }

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t>;

  bool quantized(int64_t value) const { return values_[static_cast<size_t>(value)].scale > 0; }
  float scale_of(int64_t value) const { return quantized(value) ? values_[static_cast<size_t>(value)].scale : 1; }
  memory::data_type type_of(int64_t value) const {
    if (!quantized(value)) return onednn::type_of(wide_);
    return values_[static_cast<size_t>(value)].is_signed ? memory::data_type::s8 : memory::data_type::u8;
  }

  /// oneDNN adds a bias before it scales.
  void quantize(Step& step) {
    quantize_filter(step);
    auto divisors = at::empty_like(step.bias);
    for (int64_t i = 0; i < step.bias.size(0); i++) divisors.data_ptr<float>()[i] = scale_of(step.input) * step.filter_scales[static_cast<size_t>(i)];
    step.bias = step.bias / divisors;
  }

  void widen(Step& step) {
    const bool fits = wide_ == at::kBFloat16 && step.stride == 1 && step.padding == 1 && step.sizes[2] == 3 && step.sizes[3] == 3;
    if (!fits || quantized(step.output) || (step.add >= 0 && quantized(step.add)) || !winograd::can_transform(step.sizes[1], step.sizes[0])) {
      step.filter = step.filter.to(wide_).contiguous();
      return;
    }
    step.transformed = winograd::transformed(step.filter);
    step.filter = at::Tensor();
  }

  Plan& plan_for(const at::Tensor& x) {
    const Key key{x.size(0), x.size(2), x.size(3)};
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    // Batches come in few sizes; whoever sends pictures of every size must not fill the memory with plans.
    if (plans_.size() >= kMostPlans) plans_.clear();
    return plans_.emplace(key, make_plan(x)).first->second;
  }

  /// The memories of a plan that is being made, by value.
  struct Draft {
    Plan plan;
    Places places;
    std::vector<memory> memories;
    std::vector<int64_t> offsets;
  };

  Plan make_plan(const at::Tensor& x) {
    Draft draft{{}, {}, std::vector<memory>(values_.size()), std::vector<int64_t>(values_.size(), -1)};
    const memory::desc given(onednn::dims_of(x), memory::data_type::f32, memory::format_tag::nhwc);
    draft.plan.pictures = memory(given, cpu(), DNNL_MEMORY_NONE);
    place(draft, 0, onednn::dims_of(x));
    convert(draft, draft.plan.pictures, draft.memories[0], 1);
    for (size_t i = 0; i < steps_.size(); i++) {
      auto& step = steps_[i];
      if (step.convolves)
        convolve(draft, step);
      else
        pool(draft, step);
      for (const auto value : {step.input, step.add})
        if (value >= 0 && last_use_[static_cast<size_t>(value)] == static_cast<int64_t>(i)) give_back(draft, value);
    }
    draft.plan.result_shape = draft.plan.result.get_desc().dims();
    draft.plan.bytes = draft.places.most();
    return std::move(draft.plan);
  }

  memory::desc nhwc(int64_t value, const memory::dims& dims) const { return {dims, type_of(value), memory::format_tag::nhwc}; }

  /// A place for a value; the last one's lies outside of the block, for the caller keeps it.
  void place(Draft& draft, int64_t value, const memory::dims& dims) {
    const auto at = static_cast<size_t>(value);
    draft.memories[at] = memory(nhwc(value, dims), cpu(), DNNL_MEMORY_NONE);
    if (value == steps_.back().output) {
      draft.plan.result = draft.memories[at];
      return;
    }
    const auto offset = draft.places.take(draft.memories[at].get_desc().get_size());
    draft.offsets[at] = static_cast<int64_t>(offset);
    draft.plan.placed.emplace_back(draft.memories[at], offset);
  }

  static void give_back(Draft& draft, int64_t value) {
    auto& offset = draft.offsets[static_cast<size_t>(value)];
    if (offset >= 0) draft.places.give_back(static_cast<size_t>(offset));
    offset = -1;
  }

  /// to = factor * from, in the type and rounding of `to`.
  static void convert(Draft& draft, const memory& from, const memory& to, float factor) {
    dnnl::primitive_attr attributes;
    attributes.set_output_scales(0, {factor});
    draft.plan.executions.push_back(execution_of(dnnl::reorder(from, to, attributes), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}));
  }

  static memory::dims shape_after(const memory& x, int64_t channels, int64_t height, int64_t width, int64_t stride, int64_t padding) {
    const auto dims = x.get_desc().dims();
    return {dims[0], channels, (dims[2] + 2 * padding - height) / stride + 1, (dims[3] + 2 * padding - width) / stride + 1};
  }

  void pool(Draft& draft, const Step& step) {
    const auto& x = draft.memories[static_cast<size_t>(step.input)];
    const auto shape = shape_after(x, x.get_desc().dims()[1], 3, 3, 2, 1);
    const memory::desc wanted(shape, type_of(step.input), memory::format_tag::nhwc);
    const dnnl::pooling_forward::primitive_desc desc({dnnl::prop_kind::forward_inference, dnnl::algorithm::pooling_max, x.get_desc(), wanted, {2, 2}, {3, 3}, {1, 1}, {1, 1}}, cpu());
    memory y(wanted, cpu(), DNNL_MEMORY_NONE);
    const bool converts = quantized(step.input) != quantized(step.output);
    if (!converts) {
      TORCH_CHECK(scale_of(step.input) == scale_of(step.output) && type_of(step.input) == type_of(step.output), "pooling keeps the scale of what it is given");
      place(draft, step.output, shape);
      y = draft.memories[static_cast<size_t>(step.output)];
    }
    const auto offset = converts ? draft.places.take(wanted.get_size()) : 0;
    draft.plan.executions.push_back(execution_of(dnnl::pooling_forward(desc), {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}}));
    if (!converts) return;
    draft.plan.placed.emplace_back(y, offset);
    place(draft, step.output, shape);
    convert(draft, y, draft.memories[static_cast<size_t>(step.output)], scale_of(step.input) / scale_of(step.output));
    draft.places.give_back(offset);
  }

  void convolve(Draft& draft, Step& step) {
    const auto x = draft.memories[static_cast<size_t>(step.input)];
    TORCH_CHECK(x && x.get_desc().dims()[1] == step.sizes[1], "a convolution of the network takes ", step.sizes[1], " channels");
    const auto shape = shape_after(x, step.sizes[0], step.sizes[2], step.sizes[3], step.stride, step.padding);
    const auto sum_scale = step.add < 0 ? 0.0f : placed_on_summand(draft, step, shape);
    if (step.add < 0) place(draft, step.output, shape);
    const auto y = draft.memories[static_cast<size_t>(step.output)];
    if (step.transformed.defined()) {
      const winograd::Shape pictures{shape[0], shape[2], shape[3], step.sizes[1], step.sizes[0]};
      draft.plan.executions.push_back([=, &step] { convolve_minimally(step, pictures, x, y); });
      return;
    }
    const auto attributes = attributes_of(step, sum_scale);
    const memory::desc weights(onednn::dims_of(step.filter), onednn::type_of(step.filter.scalar_type()), memory::format_tag::any);
    const memory::desc bias({step.bias.size(0)}, memory::data_type::f32, memory::format_tag::x);
    const memory::dims strides{step.stride, step.stride}, padding{step.padding, step.padding};
    const dnnl::convolution_forward::primitive_desc desc(
        {dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, x.get_desc(), weights, bias, y.get_desc(), strides, padding, padding}, attributes, cpu());
    draft.plan.executions.push_back(execution_of(dnnl::convolution_forward(desc), {{DNNL_ARG_SRC, x},
                                                                                   {DNNL_ARG_WEIGHTS, onednn::memory_of(desc.weights_desc(), packed(step, desc.weights_desc()))},
                                                                                   {DNNL_ARG_BIAS, onednn::memory_of(bias, step.bias)},
                                                                                   {DNNL_ARG_DST, y}}));
  }

  /// A summand lies where the output goes.
  static void convolve_minimally(const Step& step, const winograd::Shape& shape, const memory& x, const memory& y) {
    stream().wait();
    auto* to = static_cast<Half*>(y.get_data_handle());
    const winograd::Tail tail{nullptr, step.bias.data_ptr<float>(), step.add < 0 ? nullptr : to, step.relu};
    winograd::convolve(static_cast<const Half*>(x.get_data_handle()), step.transformed, shape, tail, to);
  }

  /// Lays the output where the summand lies, widened first where the one is in bytes and the other isn't. Comes back with the factor of the sum.
  float placed_on_summand(Draft& draft, const Step& step, const memory::dims& shape) {
    const auto add = static_cast<size_t>(step.add), output = static_cast<size_t>(step.output);
    TORCH_CHECK(draft.memories[add] && draft.memories[add].get_desc().dims() == shape, "what is added to the convolution is of another shape");
    if (quantized(step.add) != quantized(step.output) || step.output == steps_.back().output) {
      place(draft, step.output, shape);
      convert(draft, draft.memories[add], draft.memories[output], scale_of(step.add) / scale_of(step.output));
      return 1;
    }
    draft.memories[output] = memory(nhwc(step.output, shape), cpu(), DNNL_MEMORY_NONE);
    draft.offsets[output] = draft.offsets[add];
    draft.offsets[add] = -1;
    draft.plan.placed.emplace_back(draft.memories[output], static_cast<size_t>(draft.offsets[output]));
    return scale_of(step.add) / scale_of(step.output);
  }

  dnnl::primitive_attr attributes_of(const Step& step, float sum_scale) const {
    dnnl::post_ops operations;
    const bool in_place = step.add >= 0 && quantized(step.add) == quantized(step.output) && step.output != steps_.back().output;
    if (step.add >= 0) operations.append_sum(sum_scale, 0, in_place ? type_of(step.add) : type_of(step.output));
    if (step.relu) operations.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(operations);
    if (!step.filter_scales.empty()) {
      auto scales = step.filter_scales;
      for (auto& scale : scales) scale *= scale_of(step.input) / scale_of(step.output);
      attributes.set_output_scales(1 << 1, scales);
    }
    return attributes;
  }

  /// The filter in the layout that a plan wants; plans that want the same share it.
  static at::Tensor packed(Step& step, const memory::desc& wanted) {
    for (const auto& [desc, filter] : step.packed)
      if (desc == wanted) return filter;
    return step.packed.emplace_back(wanted, onednn::laid_out(onednn::as_it_lies(step.filter), wanted)).second;
  }

  static constexpr size_t kMostPlans = 32;
  std::vector<Step> steps_;
  const std::vector<Value> values_;
  const at::ScalarType wide_;
  std::vector<int64_t> last_use_;
  at::Tensor block_;
  std::map<Key, Plan> plans_;
};

/// A prepared network goes about as a prepared convolution does: a tensor of bytes whose memory is the object.
struct Boxed {
  static constexpr uint64_t kMark = 0x6e6574776f726b21;
  uint64_t mark = kMark;
  PreparedNetwork network;
};

int64_t integer(const Napi::Object& object, const char* name) { return object.Get(name).As<Napi::Number>().Int64Value(); }

Step step_of(const Napi::Object& given, SlotMap& tensors) {
  const bool convolves = given.Get("kind").As<Napi::String>().Utf8Value() == "convolution";
  Step step{convolves, integer(given, "input"), integer(given, "output"), -1, false, 0, 0, {}, {}, {}, {}, {}, {}};
  if (!convolves) return step;
  step.add = integer(given, "add");
  step.relu = given.Get("relu").As<Napi::Boolean>().Value();
  step.stride = integer(given, "strides");
  step.padding = integer(given, "padding");
  step.filter = tensors.get(given.Get("filter").As<Napi::Number>().DoubleValue());
  step.bias = tensors.get(given.Get("bias").As<Napi::Number>().DoubleValue());
  return step;
}

}  // namespace

bool processor_multiplies_bytes() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto includes = [&](dnnl::cpu_isa wanted) { return (isa & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted); };
  return includes(dnnl::cpu_isa::avx512_core_vnni) || includes(dnnl::cpu_isa::avx2_vnni);
}

Napi::Value prepare_network(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& tensors = environment(info.Env()).tensors;
    const auto given_steps = info[0].As<Napi::Array>(), given_values = info[1].As<Napi::Array>();
    std::vector<Step> steps;
    for (uint32_t i = 0; i < given_steps.Length(); i++) steps.push_back(step_of(given_steps.Get(i).As<Napi::Object>(), tensors));
    std::vector<Value> values;
    for (uint32_t i = 0; i < given_values.Length(); i++) {
      const auto value = given_values.Get(i).As<Napi::Object>();
      values.push_back({value.Get("scale").As<Napi::Number>().FloatValue(), value.Get("signed").As<Napi::Boolean>().Value()});
    }
    auto* boxed = new Boxed{Boxed::kMark, PreparedNetwork(std::move(steps), std::move(values), info[2].As<Napi::Boolean>().Value() ? at::kBFloat16 : at::kFloat)};
    const auto release = [](void* pointer) { delete static_cast<Boxed*>(pointer); };
    return Napi::Number::New(info.Env(), tensors.put(at::from_blob(boxed, {static_cast<int64_t>(sizeof(Boxed))}, release, at::kByte)));
  });
}

Napi::Value run_network(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& tensors = environment(info.Env()).tensors;
    const auto& box = tensors.get(info[0].As<Napi::Number>().DoubleValue());
    auto* boxed = box.scalar_type() == at::kByte && box.numel() == sizeof(Boxed) ? static_cast<Boxed*>(box.data_ptr()) : nullptr;
    TORCH_CHECK(boxed != nullptr && boxed->mark == Boxed::kMark, "that is no prepared network");
    return Napi::Number::New(info.Env(), tensors.put(boxed->network.run(tensors.get(info[1].As<Napi::Number>().DoubleValue()))));
  });
}

}  // namespace chameleon

#else

namespace chameleon {

bool processor_multiplies_bytes() { return false; }

Napi::Value prepare_network(const Napi::CallbackInfo& info) { throw Napi::Error::New(info.Env(), "the addon was compiled without oneDNN's headers"); }

Napi::Value run_network(const Napi::CallbackInfo& info) { return prepare_network(info); }

}  // namespace chameleon

#endif
