// The addon's entries: any ATen operator by its schema, memory in and out, and what fused code needs.
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include "allocator.h"
#include "collectives.h"
#include "convert.h"
#include "device-memory.h"
#include "environment.h"
#include "fused-batch-norm.h"
#include "max-pool.h"
#include "minimal-convolution.h"
#include "optimizers.h"
#include "packed-convolution.h"
#include "prepared-convolution.h"
#include "prepared-network.h"
#include "thread-binding.h"
#include "versions.h"

namespace chameleon {
namespace {

/// operator(name, overload): looks an operator up; the number that comes back is what `call` takes.
Napi::Value find_operator(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto& operators = environment(info.Env()).operators;
    operators.push_back(c10::Dispatcher::singleton().findSchemaOrThrow(info[0].As<Napi::String>().Utf8Value().c_str(),
                                                                      info[1].As<Napi::String>().Utf8Value().c_str()));
    return Napi::Number::New(info.Env(), static_cast<double>(operators.size() - 1));
  });
}

/// call(operator, args): tensors are handles; an argument left out takes the schema's default.
Napi::Value call(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto env = info.Env();
    auto& here = environment(env);
    auto& op = here.operators.at(info[0].As<Napi::Number>().Uint32Value());
    const auto args = info[1].As<Napi::Array>();
    const auto& parameters = op.schema().arguments();
    torch::jit::Stack stack;
    stack.reserve(parameters.size());
    for (size_t i = 0; i < parameters.size(); i++) {
      const Napi::Value value = i < args.Length() ? args.Get(static_cast<uint32_t>(i)) : env.Undefined();
      // Operators that make tensors name their device; nobody else is asked where to compute.
      if (here.device != at::kCPU && parameters[i].name() == "device" && (value.IsUndefined() || value.IsNull()))
        stack.push_back(here.device);
      else if (value.IsUndefined() && parameters[i].default_value())
        stack.push_back(*parameters[i].default_value());
      else
        stack.push_back(to_ivalue(here, value, parameters[i].type()));
    }
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    op.callBoxed(&stack);
    if (stack.size() == 1) return from_ivalue(env, here, stack[0]);
    auto out = Napi::Array::New(env, stack.size());
    for (size_t i = 0; i < stack.size(); i++) out.Set(static_cast<uint32_t>(i), from_ivalue(env, here, stack[i]));
    return out;
  });
}

at::ScalarType type_of(const Napi::TypedArray& array) {
  switch (array.TypedArrayType()) {
    case napi_float32_array:
      return at::kFloat;
    case napi_int32_array:
      return at::kInt;
    case napi_uint8_array:
      return at::kBool;
    default:
      TORCH_CHECK(false, "tensors are made of a Float32Array, an Int32Array, or a Uint8Array of booleans");
  }
}

/// fromData(typedArray, shape): a copy; float32, int32 or bool by the array's type.
Napi::Value from_data(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto array = info[0].As<Napi::TypedArray>();
    auto tensor = at::empty(to_integers(info[1]), type_of(array));
    TORCH_CHECK(tensor.nbytes() == array.ByteLength(), "a tensor of shape ", tensor.sizes(), " was given ", array.ElementLength(), " values");
    if (array.ByteLength() > 0) std::memcpy(tensor.data_ptr(), static_cast<const char*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength());
    auto& here = environment(info.Env());
    return Napi::Number::New(info.Env(), here.tensors.put(here.device == at::kCPU ? tensor : tensor.to(here.device)));
  });
}

/// read(handle): the values in row-major order; bfloat16 widened to float32, integers narrowed to int32.
Napi::Value read(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto env = info.Env();
    auto tensor = environment(env).tensors.glance(info[0].As<Napi::Number>().DoubleValue());
    const auto type = tensor.scalar_type() == at::kBool ? at::kBool : at::isIntegralType(tensor.scalar_type(), false) ? at::kInt : at::kFloat;
    tensor = tensor.to(at::kCPU, type).contiguous();
    auto buffer = Napi::ArrayBuffer::New(env, tensor.nbytes());
    if (tensor.nbytes() > 0) std::memcpy(buffer.Data(), tensor.data_ptr(), tensor.nbytes());
    const auto count = static_cast<size_t>(tensor.numel());
    if (type == at::kFloat) return Napi::Float32Array::New(env, count, buffer, 0);
    if (type == at::kInt) return Napi::Int32Array::New(env, count, buffer, 0);
    return Napi::Uint8Array::New(env, count, buffer, 0);
  });
}

Napi::Value release(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    environment(info.Env()).tensors.release(info[0].As<Napi::Number>().DoubleValue());
    return info.Env().Undefined();
  });
}

Napi::Value shape(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto& tensor = environment(info.Env()).tensors.outline(info[0].As<Napi::Number>().DoubleValue());
    auto out = Napi::Array::New(info.Env(), static_cast<size_t>(tensor.dim()));
    for (int64_t i = 0; i < tensor.dim(); i++) out.Set(static_cast<uint32_t>(i), Napi::Number::New(info.Env(), static_cast<double>(tensor.size(i))));
    return out;
  });
}

/// scalarType(handle): ATen's name of it, "Float", "BFloat16", "Int" …
Napi::Value scalar_type(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    return Napi::String::New(info.Env(), c10::toString(environment(info.Env()).tensors.outline(info[0].As<Napi::Number>().DoubleValue()).scalar_type()));
  });
}

/// memory(): of the device that this thread's tensors are made on.
Napi::Value memory(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto& here = environment(info.Env());
    const auto statistics = memory_of(here.device);
    auto out = Napi::Object::New(info.Env());
    out.Set("liveBytes", static_cast<double>(statistics.live_bytes));
    out.Set("peakBytes", static_cast<double>(statistics.peak_bytes));
    out.Set("cachedBytes", static_cast<double>(statistics.cached_bytes));
    out.Set("tensors", static_cast<double>(here.tensors.size()));
    return out;
  });
}

Napi::Value restart_peak(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    reset_peak(environment(info.Env()).device);
    return info.Env().Undefined();
  });
}

Napi::Value drop_cache(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    empty_cache(environment(info.Env()).device);
    return info.Env().Undefined();
  });
}

/// useDevice("cpu" | "cuda"): where this thread's tensors are made from here on.
Napi::Value use_device(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const at::Device device(info[0].As<Napi::String>().Utf8Value());
    if (device.is_cuda()) {
      TORCH_CHECK(at::hasCUDA(), "this libtorch ", TORCH_VERSION, " can't use a CUDA device: it was built without CUDA, or its driver or device is not there. `node tools/setup.mjs --engine pip` brings one that has CUDA; the device cpu always goes.");
      // The first kernel tells whether this build knows the device at all.
      try {
        at::zeros({1}, at::device(device)).add_(1).item();
      } catch (const c10::Error& error) {
        TORCH_CHECK(false, "this libtorch ", TORCH_VERSION, " can't compute on the CUDA device here: ", error.what_without_backtrace(),
                    ". A newer or older torch may know the device (`pip download torch==VERSION`, then LIBTORCH); the device cpu always goes.");
      }
    } else {
      TORCH_CHECK(device.is_cpu(), "tensors are made on cpu or cuda, not on ", device.str());
    }
    environment(info.Env()).device = device;
    return info.Env().Undefined();
  });
}

Napi::Value set_threads(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    at::set_num_threads(info[0].As<Napi::Number>().Int32Value());
    return info.Env().Undefined();
  });
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  static const bool installed = (install_caching_allocator(), true);
  (void)installed;
  env.SetInstanceData(new Environment());
  exports.Set("operator", Napi::Function::New(env, find_operator));
  exports.Set("call", Napi::Function::New(env, call));
  exports.Set("fromData", Napi::Function::New(env, from_data));
  exports.Set("read", Napi::Function::New(env, read));
  exports.Set("release", Napi::Function::New(env, release));
  exports.Set("shape", Napi::Function::New(env, shape));
  exports.Set("scalarType", Napi::Function::New(env, scalar_type));
  exports.Set("adamStep", Napi::Function::New(env, adam_step));
  exports.Set("sgdStep", Napi::Function::New(env, sgd_step));
  if (convolutions_can_be_prepared()) {
    exports.Set("prepareConvolution", Napi::Function::New(env, prepare_convolution));
    exports.Set("runConvolution", Napi::Function::New(env, run_convolution));
    exports.Set("packFilter", Napi::Function::New(env, pack_filter));
    exports.Set("packedConvolution", Napi::Function::New(env, packed_convolution));
    exports.Set("packedConvolutionInputGradient", Napi::Function::New(env, packed_convolution_input_gradient));
    exports.Set("packedConvolutionFilterGradient", Napi::Function::New(env, packed_convolution_filter_gradient));
    exports.Set("prepareNetwork", Napi::Function::New(env, prepare_network));
    exports.Set("runNetwork", Napi::Function::New(env, run_network));
    exports.Set("multipliesBytes", Napi::Boolean::New(env, processor_multiplies_bytes()));
  }
  auto collectives = Napi::Array::New(env);
#if defined(USE_C10D_GLOO)
  collectives.Set(collectives.Length(), "gloo");
#endif
#if defined(USE_C10D_NCCL)
  collectives.Set(collectives.Length(), "nccl");
#endif
  exports.Set("collectives", collectives);
  exports.Set("fusedBatchNorm", Napi::Function::New(env, fused_batch_norm));
  exports.Set("fusedBatchNormBackward", Napi::Function::New(env, fused_batch_norm_backward));
  exports.Set("minimalConvolution", Napi::Function::New(env, minimal_convolution));
  exports.Set("minimalConvolutionInputGradient", Napi::Function::New(env, minimal_convolution_input_gradient));
  exports.Set("minimalConvolutionFilterGradient", Napi::Function::New(env, minimal_convolution_filter_gradient));
  exports.Set("maxPool", Napi::Function::New(env, max_pool));
  exports.Set("maxPoolBackward", Napi::Function::New(env, max_pool_backward));
  exports.Set("openGroup", Napi::Function::New(env, open_group));
  exports.Set("sumOverRanks", Napi::Function::New(env, sum_over_ranks));
  exports.Set("settleSums", Napi::Function::New(env, settle_sums));
  exports.Set("beginSum", Napi::Function::New(env, begin_sum));
  exports.Set("awaitSum", Napi::Function::New(env, await_sum));
  exports.Set("sumNumbers", Napi::Function::New(env, sum_numbers));
  exports.Set("broadcastBytes", Napi::Function::New(env, broadcast_bytes));
  exports.Set("closeGroup", Napi::Function::New(env, close_group));
  exports.Set("abandonGroup", Napi::Function::New(env, abandon_group));
  exports.Set("placeInBucket", Napi::Function::New(env, place_in_bucket));
  exports.Set("takeFromBucket", Napi::Function::New(env, take_from_bucket));
  exports.Set("memory", Napi::Function::New(env, memory));
  exports.Set("resetPeak", Napi::Function::New(env, restart_peak));
  exports.Set("limitMemory", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { limit_memory(info[0].As<Napi::Number>().Int64Value()); }));
  exports.Set("emptyCache", Napi::Function::New(env, drop_cache));
  exports.Set("useDevice", Napi::Function::New(env, use_device));
  exports.Set("hasCuda", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value { return Napi::Boolean::New(info.Env(), at::hasCUDA()); }));
  exports.Set("setThreads", Napi::Function::New(env, set_threads));
  exports.Set("bindThreads", Napi::Function::New(env, bind_threads));
  exports.Set("version", Napi::String::New(env, TORCH_VERSION));
  return exports;
}

}  // namespace
}  // namespace chameleon

namespace {
Napi::Object register_addon(Napi::Env env, Napi::Object exports) { return chameleon::initialize(env, exports); }
}  // namespace

NODE_API_MODULE(tfjs_libtorch, register_addon)
