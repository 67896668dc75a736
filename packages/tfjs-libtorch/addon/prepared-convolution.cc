// libtorch 1.13 has no operator that fuses a sum and a ReLU into a convolution, and lays its filters out anew at every call. oneDNN,
// which it computes with, has both: on ResNet34 this takes half of the time.
#include "prepared-convolution.h"

#include "environment.h"
#include "onednn.h"

#if CHAMELEON_ONEDNN

#include <map>
#include <tuple>

// Not linked with: Debian's libtorch brings it along. Another libtorch has it inside, or in another version.
extern "C" const dnnl_version_t* dnnl_version(void) __attribute__((weak));

namespace chameleon {
namespace {

using dnnl::memory;

using onednn::cpu;
using onednn::dims_of;
using onednn::memory_of;
using onednn::stream;
using onednn::type_of;

memory::desc nhwc_of(const at::Tensor& tensor) { return {dims_of(tensor), type_of(tensor.scalar_type()), memory::format_tag::nhwc}; }

/// What one shape of input is computed with.
struct Plan {
  dnnl::convolution_forward primitive;
  memory::desc source, weights, bias, destination;
  at::Tensor packed;
};

class PreparedConvolution {
 public:
  PreparedConvolution(const at::Tensor& filter, const at::Tensor& bias, int64_t stride, int64_t padding, at::ScalarType type)
      : filter_(filter.contiguous()), bias_(bias.contiguous()), stride_(stride), padding_(padding), type_(type) {
    TORCH_CHECK(filter.dim() == 4 && filter.scalar_type() == at::kFloat, "a filter to prepare is [out, in, height, width] in float32");
    TORCH_CHECK(bias.dim() == 1 && bias.size(0) == filter.size(0) && bias.scalar_type() == at::kFloat, "a bias to prepare is [out] in float32");
    TORCH_CHECK(stride > 0 && padding >= 0, "a stride is positive, a padding is not negative");
  }

  at::Tensor run(const at::Tensor& given, const at::Tensor& add, bool relu) {
    TORCH_CHECK(given.dim() == 4 && given.size(1) == filter_.size(1), "the convolution takes ", filter_.size(1), " channels, and was given ", given.sizes());
    const auto x = given.to(type_).contiguous(at::MemoryFormat::ChannelsLast);
    const auto out = [&](int64_t side, int64_t window) { return (side + 2 * padding_ - window) / stride_ + 1; };
    const std::vector<int64_t> shape{x.size(0), filter_.size(0), out(x.size(2), filter_.size(2)), out(x.size(3), filter_.size(3))};
    at::Tensor y = add;
    if (!add.defined()) {
      y = at::empty(shape, x.options().memory_format(at::MemoryFormat::ChannelsLast));
    } else {
      TORCH_CHECK(add.sizes() == shape && add.scalar_type() == type_ && add.is_contiguous(at::MemoryFormat::ChannelsLast), "what is added to the convolution is of another shape or layout");
    }
    if (x.numel() == 0) return y;
    const Plan& plan = plan_for(x, y, add.defined(), relu);
    plan.primitive.execute(stream(), {{DNNL_ARG_SRC, memory_of(plan.source, x)},
                                      {DNNL_ARG_WEIGHTS, memory_of(plan.weights, plan.packed)},
                                      {DNNL_ARG_BIAS, memory_of(plan.bias, bias_)},
                                      {DNNL_ARG_DST, memory_of(plan.destination, y)}});
    stream().wait();
    return y;
  }

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t, bool, bool>;

  const Plan& plan_for(const at::Tensor& x, const at::Tensor& y, bool add, bool relu) {
    const Key key{x.size(0), x.size(2), x.size(3), add, relu};
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    // Batches come in few sizes; whoever sends pictures of every size must not fill the memory with plans.
    if (plans_.size() >= kMostPlans) plans_.clear();
    return plans_.emplace(key, make_plan(x, y, add, relu)).first->second;
  }

  Plan make_plan(const at::Tensor& x, const at::Tensor& y, bool add, bool relu) {
    dnnl::post_ops operations;
    if (add) operations.append_sum();
    if (relu) operations.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(operations);
    const memory::desc weights(dims_of(filter_), type_of(type_), memory::format_tag::any);
    const memory::desc bias({bias_.size(0)}, memory::data_type::f32, memory::format_tag::x);
    const memory::dims strides{stride_, stride_}, padding{padding_, padding_};
    const dnnl::convolution_forward::primitive_desc desc(
        {dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, nhwc_of(x), weights, bias, nhwc_of(y), strides, padding, padding}, attributes, cpu());
    return {dnnl::convolution_forward(desc), desc.src_desc(), desc.weights_desc(), desc.bias_desc(), desc.dst_desc(), pack(desc.weights_desc())};
  }

  /// The filter in the layout that a plan wants; plans that want the same share it.
  at::Tensor pack(const memory::desc& wanted) {
    for (const auto& [key, plan] : plans_)
      if (plan.weights == wanted) return plan.packed;
    return onednn::laid_out(onednn::as_it_lies(filter_), wanted);
  }

  static constexpr size_t kMostPlans = 64;
  const at::Tensor filter_, bias_;
  const int64_t stride_, padding_;
  const at::ScalarType type_;
  std::map<Key, Plan> plans_;
};

/// A prepared convolution goes about as a tensor of bytes whose memory is the object: who disposes the tensor disposes the convolution.
struct Boxed {
  static constexpr uint64_t kMark = 0x636f6e766f6c7665;
  uint64_t mark = kMark;
  PreparedConvolution convolution;
};

}  // namespace

bool convolutions_can_be_prepared() {
  return dnnl_version != nullptr && dnnl_version()->major == DNNL_VERSION_MAJOR && dnnl_version()->minor >= DNNL_VERSION_MINOR;
}

Napi::Value prepare_convolution(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& tensors = environment(info.Env()).tensors;
    auto* boxed = new Boxed{Boxed::kMark, PreparedConvolution(tensors.get(info[0].As<Napi::Number>().DoubleValue()), tensors.get(info[1].As<Napi::Number>().DoubleValue()),
                                                              info[2].As<Napi::Number>().Int64Value(), info[3].As<Napi::Number>().Int64Value(),
                                                              info[4].As<Napi::Boolean>().Value() ? at::kBFloat16 : at::kFloat)};
    const auto release = [](void* pointer) { delete static_cast<Boxed*>(pointer); };
    return Napi::Number::New(info.Env(), tensors.put(at::from_blob(boxed, {static_cast<int64_t>(sizeof(Boxed))}, release, at::kByte)));
  });
}

Napi::Value run_convolution(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& tensors = environment(info.Env()).tensors;
    const auto& box = tensors.get(info[0].As<Napi::Number>().DoubleValue());
    auto* boxed = box.scalar_type() == at::kByte && box.numel() == sizeof(Boxed) ? static_cast<Boxed*>(box.data_ptr()) : nullptr;
    TORCH_CHECK(boxed != nullptr && boxed->mark == Boxed::kMark, "that is no prepared convolution");
    const auto add = info[2].IsNumber() ? tensors.get(info[2].As<Napi::Number>().DoubleValue()) : at::Tensor();
    const auto y = boxed->convolution.run(tensors.get(info[1].As<Napi::Number>().DoubleValue()), add, info[3].As<Napi::Boolean>().Value());
    return Napi::Number::New(info.Env(), tensors.put(y));
  });
}

}  // namespace chameleon

#else

namespace chameleon {

bool convolutions_can_be_prepared() { return false; }

Napi::Value prepare_convolution(const Napi::CallbackInfo& info) { throw Napi::Error::New(info.Env(), "the addon was compiled without oneDNN's headers"); }

Napi::Value run_convolution(const Napi::CallbackInfo& info) { return prepare_convolution(info); }

}  // namespace chameleon

#endif
