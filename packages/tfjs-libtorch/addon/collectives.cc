#include "collectives.h"

#include "convert.h"
#include "environment.h"
#include "group.h"

#if defined(CHAMELEON_COLLECTIVES)

#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <cstring>
#include <future>

namespace chameleon {
namespace {

using Held = std::shared_ptr<Group>;

Group& group_of(const Napi::CallbackInfo& info) { return **info[0].As<Napi::External<Held>>().Data(); }

MeetingOptions meeting_options(const Napi::Object& options) {
  const auto integer = [&](const char* name) { return options.Get(name).As<Napi::Number>().Int32Value(); };
  const auto text = [&](const char* name) { return options.Get(name).As<Napi::String>().Utf8Value(); };
  return {text("kind"), integer("rank"), integer("worldSize"), text("host"), static_cast<uint16_t>(integer("port")), text("prefix"), text("address"), std::chrono::milliseconds(integer("timeoutMs"))};
}

/// Gives the group a job that JavaScript will hear of.
Napi::Value submit(const Napi::CallbackInfo& info, Group::Job job, bool last = false) {
  auto& group = group_of(info);
  group.mailbox().expect(info.Env());
  group.enqueue(info[1].As<Napi::Number>().Uint32Value(), std::move(job), last);
  return info.Env().Undefined();
}

/// The next multiple of the number of ranks: each sums an equal share.
int64_t shareable(int64_t count, int world_size) { return (count + world_size - 1) / world_size * world_size; }

/// Memory order of a filter [height, width, in, out] as it comes out of a convolution: [out, height, width, in]. Else as the shape says.
std::vector<int64_t> bucket_strides(at::IntArrayRef sizes, bool filter) {
  if (filter && sizes.size() == 4) return {sizes[1] * sizes[2], sizes[2], 1, sizes[0] * sizes[1] * sizes[2]};
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t i = sizes.size(); i-- > 1;) strides[i - 1] = strides[i] * sizes[i];
  return strides;
}

at::Tensor place_of(const at::Tensor& bucket, int64_t offset, const at::Tensor& gradient, bool filter) {
  TORCH_CHECK(offset >= 0 && offset + gradient.numel() <= bucket.numel(), "a gradient of ", gradient.numel(), " numbers does not fit at ", offset, " of a bucket of ", bucket.numel());
  return bucket.as_strided(gradient.sizes(), bucket_strides(gradient.sizes(), filter), offset);
}

/// A sum that JavaScript's thread waits for: the tensor that becomes it, and this rank's part of what the group's thread sums.
struct AwaitedSum {
  at::Tensor tensor, own;
  std::future<void> done;
};

}  // namespace

Napi::Value open_group(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto mailbox = std::make_shared<Mailbox>(info.Env(), info[1].As<Napi::Function>());
    mailbox->shut_at_the_end_of(info.Env());
    mailbox->expect(info.Env());
    auto group = std::make_shared<Group>(meeting_options(info[0].As<Napi::Object>()), mailbox);
    group->start();
    return Napi::External<Held>::New(info.Env(), new Held(group), [](Napi::Env, Held* held) { delete held; });
  });
}

Napi::Value sum_over_ranks(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto tensor = environment(info.Env()).tensors.get(info[2].As<Napi::Number>().DoubleValue());
    TORCH_CHECK(tensor.is_contiguous() && tensor.numel() % group_of(info).options().world_size == 0, "what ranks sum lies in one stretch of memory, in equal shares");
    return submit(info, [tensor](Peers& peers) { return peers.sum(tensor), at::Tensor(); });
  });
}

Napi::Value settle_sums(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value { return submit(info, [](Peers& peers) { return peers.settle(), at::Tensor(); }); });
}

Napi::Value begin_sum(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto& group = group_of(info);
    auto tensor = environment(info.Env()).tensors.get(info[1].As<Napi::Number>().DoubleValue());
    auto flat = at::zeros({shareable(tensor.numel(), group.options().world_size)}, at::kFloat);
    auto own = flat.narrow(0, 0, tensor.numel()).view(tensor.sizes());
    own.copy_(tensor);
    auto done = std::make_shared<std::promise<void>>();
    auto sum = std::make_unique<AwaitedSum>(AwaitedSum{tensor, own, done->get_future()});
    // A job that is dropped breaks the promise, so that nobody waits for one that will not be done.
    // Nobody in JavaScript knows the job by this number, but the mailbox counts what it delivers.
    group.mailbox().expect(info.Env());
    group.enqueue(UINT32_MAX, [flat, done](Peers& peers) {
      try {
        peers.sum(flat);
        peers.settle();
        done->set_value();
      } catch (...) {
        done->set_exception(std::current_exception());
        throw;
      }
      return at::Tensor();
    });
    return Napi::External<AwaitedSum>::New(info.Env(), sum.release(), [](Napi::Env, AwaitedSum* held) { delete held; });
  });
}

Napi::Value await_sum(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto& sum = *info[0].As<Napi::External<AwaitedSum>>().Data();
    if (sum.done.wait_for(std::chrono::milliseconds(info[1].As<Napi::Number>().Int64Value())) != std::future_status::ready) return Napi::Boolean::New(info.Env(), false);
    sum.done.get();
    sum.tensor.copy_(sum.own);
    return Napi::Boolean::New(info.Env(), true);
  });
}

Napi::Value sum_numbers(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto values = info[2].As<Napi::Float64Array>();
    const auto count = static_cast<int64_t>(values.ElementLength());
    auto tensor = at::empty({shareable(count, group_of(info).options().world_size)}, at::kDouble);
    std::fill(std::copy(values.Data(), values.Data() + count, tensor.data_ptr<double>()), tensor.data_ptr<double>() + tensor.numel(), 0.0);
    return submit(info, [tensor, count](Peers& peers) {
      peers.sum(tensor);
      peers.settle();
      return at::from_blob(tensor.data_ptr(), {count}, [tensor](void*) {}, at::kDouble);
    });
  });
}

Napi::Value broadcast_bytes(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    at::Tensor bytes;
    if (info[2].IsTypedArray()) {
      const auto given = info[2].As<Napi::Uint8Array>();
      bytes = at::empty({static_cast<int64_t>(given.ByteLength())}, at::kByte);
      if (given.ByteLength() > 0) std::memcpy(bytes.data_ptr(), given.Data(), given.ByteLength());
    }
    const int root = info[3].As<Napi::Number>().Int32Value();
    return submit(info, [bytes, root](Peers& peers) { return peers.broadcast(bytes, root); });
  });
}

Napi::Value close_group(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    return submit(info, [size = group_of(info).options().world_size](Peers& peers) { return peers.prove(size), at::Tensor(); }, true);
  });
}

Napi::Value abandon_group(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    group_of(info).abandon();
    return info.Env().Undefined();
  });
}

Napi::Value place_in_bucket(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto& tensors = environment(info.Env()).tensors;
    auto& gradient = tensors.get(info[2].As<Napi::Number>().DoubleValue());
    auto place = place_of(tensors.get(info[0].As<Napi::Number>().DoubleValue()), info[1].As<Napi::Number>().Int64Value(), gradient, info[3].As<Napi::Boolean>().Value());
    place.copy_(gradient);
    if (gradient.device() == place.device()) gradient = place;
    return info.Env().Undefined();
  });
}

Napi::Value take_from_bucket(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto& tensors = environment(info.Env()).tensors;
    auto& gradient = tensors.get(info[2].As<Napi::Number>().DoubleValue());
    const auto& bucket = tensors.get(info[0].As<Napi::Number>().DoubleValue());
    if (gradient.device() != bucket.device()) gradient.copy_(place_of(bucket, info[1].As<Napi::Number>().Int64Value(), gradient, info[3].As<Napi::Boolean>().Value()));
    return info.Env().Undefined();
  });
}

}  // namespace chameleon

#else

namespace chameleon {

namespace {
Napi::Value refuse(const Napi::CallbackInfo& info) {
  throw Napi::Error::New(info.Env(), "the addon was compiled without Gloo's headers (Debian's libtorch has them in libgloo-dev, pip's torch has none) and without NCCL's, so processes can't sum their gradients by them. Use the exchange grpc");
}
}  // namespace

Napi::Value open_group(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value sum_over_ranks(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value settle_sums(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value begin_sum(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value await_sum(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value sum_numbers(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value broadcast_bytes(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value close_group(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value abandon_group(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value place_in_bucket(const Napi::CallbackInfo& info) { return refuse(info); }
Napi::Value take_from_bucket(const Napi::CallbackInfo& info) { return refuse(info); }

}  // namespace chameleon

#endif
