#include "collectives.h"

#include "convert.h"
#include "environment.h"
#include "meeting-store.h"
#include "peers.h"

#if defined(CHAMELEON_COLLECTIVES)

#include <ATen/core/LegacyTypeDispatch.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

namespace chameleon {
namespace {

using Clock = std::chrono::steady_clock;

struct MeetingOptions {
  /// gloo or nccl
  std::string kind;
  int rank, world_size;
  std::string host;
  uint16_t port;
  std::string prefix, address;
  std::chrono::milliseconds timeout;
};

/// What became of a job. An error that is empty is none.
struct Outcome {
  uint32_t job;
  std::string error;
  at::Tensor result;
};

/// Where the group's thread says in JavaScript's thread what became of its jobs; deaf once it is shut, or the environment has ended.
class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  Mailbox(Napi::Env env, const Napi::Function& on_done) : function_(Napi::ThreadSafeFunction::New(env, on_done, "chameleon collectives", 0, 1)) { function_.Unref(env); }

  /// Node closes what it made itself for an environment that ends; the hook runs before that.
  void shut_at_the_end_of(Napi::Env env) {
    const auto hook = [](void* data) {
      std::unique_ptr<std::shared_ptr<Mailbox>> self(static_cast<std::shared_ptr<Mailbox>*>(data));
      std::lock_guard<std::mutex> lock((*self)->mutex_);
      (*self)->open_ = false;
    };
    napi_add_env_cleanup_hook(env, hook, new std::shared_ptr<Mailbox>(shared_from_this()));
  }

  /// A job that is waited for keeps the process alive.
  void expect(Napi::Env env) {
    if (pending_++ == 0) function_.Ref(env);
  }

  void post(Outcome outcome) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!open_) return;
    auto carried = std::make_unique<Carried>(Carried{shared_from_this(), std::move(outcome)});
    if (function_.NonBlockingCall(carried.get(), &Mailbox::deliver) == napi_ok) (void)carried.release();
  }

  void shut() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (open_) function_.Release();
    open_ = false;
  }

 private:
  struct Carried {
    std::shared_ptr<Mailbox> mailbox;
    Outcome outcome;
  };

  static void deliver(Napi::Env env, Napi::Function on_done, Carried* data) {
    const std::unique_ptr<Carried> carried(data);
    if (env == nullptr || !carried->mailbox->open_) return;
    if (--carried->mailbox->pending_ == 0) carried->mailbox->function_.Unref(env);
    const auto& [job, error, result] = carried->outcome;
    on_done.Call({Napi::Number::New(env, job), error.empty() ? env.Null() : Napi::String::New(env, error).As<Napi::Value>(), value_of(env, result)});
  }

  static Napi::Value value_of(Napi::Env env, const at::Tensor& result) {
    if (!result.defined()) return env.Undefined();
    auto buffer = Napi::ArrayBuffer::New(env, result.nbytes());
    if (result.nbytes() > 0) std::memcpy(buffer.Data(), result.data_ptr(), result.nbytes());
    if (result.scalar_type() == at::kDouble) return Napi::Float64Array::New(env, static_cast<size_t>(result.numel()), buffer, 0);
    return Napi::Uint8Array::New(env, result.nbytes(), buffer, 0);
  }

  std::mutex mutex_;
  bool open_ = true;
  uint32_t pending_ = 0;
  Napi::ThreadSafeFunction function_;
};

/// Set when the process ends: libtorch's own static objects go, so a thread that still waits for a peer touches nothing any more.
std::atomic<bool> process_ends{false};

void watch_the_process() {
  static const bool watched = std::atexit([] { process_ends = true; }) == 0;
  (void)watched;
}

void stop_if_the_process_ends() {
  while (process_ends) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// Whether somebody listens there.
bool answers(const MeetingOptions& options) {
  const int socket = connect_to(options.host, options.port, std::chrono::milliseconds(200));
  if (socket < 0) return false;
  close(socket);
  return true;
}

/// One group as its thread and JavaScript's share it.
class Group : public std::enable_shared_from_this<Group> {
 public:
  using Job = std::function<at::Tensor(Peers&)>;

  Group(MeetingOptions options, std::shared_ptr<Mailbox> mailbox) : options_(std::move(options)), mailbox_(std::move(mailbox)) {}

  const MeetingOptions& options() const { return options_; }
  Mailbox& mailbox() { return *mailbox_; }

  /// The thread holds the group until its work is over, also when JavaScript has forgotten it.
  void start() {
    std::thread([self = shared_from_this()] { self->run(); }).detach();
  }

  void enqueue(uint32_t id, Job job, bool last = false) {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back({id, std::move(job), last});
    changed_.notify_one();
  }

  void abandon() {
    mailbox_->shut();
    std::lock_guard<std::mutex> lock(mutex_);
    abandoned_ = true;
    queue_.clear();
    if (peers_ != nullptr) peers_->give_up();
    changed_.notify_one();
  }

 private:
  struct Entry {
    uint32_t id;
    Job job;
    bool last;
  };

  void run() {
    std::unique_ptr<Peers> peers;
    std::string error = attempt(0, [&] {
      peers = meet();
      hold(peers.get());
      peers->prove(options_.world_size);
      return at::Tensor();
    });
    for (auto entry = next(); entry; entry = next()) {
      if (error.empty() || entry->last) error = attempt(entry->id, [&] { return peers ? entry->job(*peers) : at::Tensor(); }, entry->last ? [&] { hold(nullptr); peers.reset(); } : std::function<void()>());
      else mailbox_->post({entry->id, error, {}});
      if (entry->last) break;
    }
    hold(nullptr);
    stop_if_the_process_ends();
  }

  /// Does a job and posts what became of it; gives its error. `after` runs before the word goes out.
  std::string attempt(uint32_t id, const std::function<at::Tensor()>& job, const std::function<void()>& after = {}) {
    Outcome outcome{id, "", {}};
    try {
      outcome.result = job();
    } catch (const c10::Error& error) {
      outcome.error = error.what_without_backtrace();
    } catch (const std::exception& error) {
      outcome.error = error.what();
    }
    stop_if_the_process_ends();
    if (after) after();
    mailbox_->post(outcome);
    return outcome.error;
  }

  std::unique_ptr<Entry> next() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return abandoned_ || !queue_.empty(); });
    if (abandoned_) return nullptr;
    auto entry = std::make_unique<Entry>(std::move(queue_.front()));
    queue_.pop_front();
    return entry;
  }

  void hold(Peers* peers) {
    std::lock_guard<std::mutex> lock(mutex_);
    peers_ = peers;
    if (peers != nullptr && abandoned_) peers->give_up();
  }

  bool abandoned() {
    std::lock_guard<std::mutex> lock(mutex_);
    return abandoned_;
  }

  std::unique_ptr<Peers> meet() {
    const auto began = Clock::now();
    auto left = [&] { return options_.timeout - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began); };
    const bool host = options_.rank == 0;
    if (!host && !wait_until([&] { return answers(options_); }, left)) throw std::runtime_error(absent({0}));
    const auto server = host ? serve_meeting(options_.address, options_.port) : nullptr;
    auto store = c10::make_intrusive<c10d::PrefixStore>(options_.prefix, meeting_store(host ? options_.address : options_.host, options_.port, options_.timeout, server));
    store->set("here/" + std::to_string(options_.rank), std::vector<uint8_t>{1});
    store->add("count", 1);
    if (!wait_until([&] { return store->add("count", 0) >= options_.world_size; }, left)) {
      std::vector<int> missing;
      for (int rank = 0; rank < options_.world_size; rank++)
        if (!store->check({"here/" + std::to_string(rank)})) missing.push_back(rank);
      throw std::runtime_error(absent(missing));
    }
    return form(store, {options_.rank, options_.world_size, options_.address, options_.timeout});
  }

  std::unique_ptr<Peers> form(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options) const {
#if defined(USE_C10D_NCCL)
    if (options_.kind == "nccl") return nccl_peers(store, options);
#endif
#if defined(USE_C10D_GLOO)
    if (options_.kind == "gloo") return gloo_peers(store, options);
#endif
    throw std::runtime_error("the addon was compiled without " + options_.kind);
  }

  template <class Condition, class Left>
  bool wait_until(Condition condition, Left left) {
    for (auto pause = std::chrono::milliseconds(2); !condition(); pause = std::min(2 * pause, std::chrono::milliseconds(50))) {
      if (abandoned()) throw std::runtime_error("given up");
      if (left() <= pause) return false;
      std::this_thread::sleep_for(pause);
    }
    return true;
  }

  std::string absent(const std::vector<int>& ranks) const {
    std::ostringstream text;
    text << (ranks.size() == 1 ? "rank " : "ranks ");
    for (size_t i = 0; i < ranks.size(); i++) text << (i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ") << ranks[i];
    text << " of " << options_.world_size << " did not come to " << options_.host << ":" << options_.port << " in " << options_.timeout.count() << " ms";
    return text.str();
  }

  const MeetingOptions options_;
  const std::shared_ptr<Mailbox> mailbox_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> queue_;
  bool abandoned_ = false;
  Peers* peers_ = nullptr;
};

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
    watch_the_process();
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
