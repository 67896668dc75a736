#include "mailbox.h"

#if defined(CHAMELEON_COLLECTIVES)

#include <cstring>

namespace chameleon {
namespace {

Napi::Value value_of(Napi::Env env, const at::Tensor& result) {
  if (!result.defined()) return env.Undefined();
  auto buffer = Napi::ArrayBuffer::New(env, result.nbytes());
  if (result.nbytes() > 0) std::memcpy(buffer.Data(), result.data_ptr(), result.nbytes());
  if (result.scalar_type() == at::kDouble) return Napi::Float64Array::New(env, static_cast<size_t>(result.numel()), buffer, 0);
  return Napi::Uint8Array::New(env, result.nbytes(), buffer, 0);
}

}  // namespace

Mailbox::Mailbox(Napi::Env env, const Napi::Function& on_done) : function_(Napi::ThreadSafeFunction::New(env, on_done, "chameleon collectives", 0, 1)) { function_.Unref(env); }

/// Node closes what it made itself for an environment that ends; the hook runs before that.
void Mailbox::shut_at_the_end_of(Napi::Env env) {
  const auto hook = [](void* data) {
    std::unique_ptr<std::shared_ptr<Mailbox>> self(static_cast<std::shared_ptr<Mailbox>*>(data));
    std::lock_guard<std::mutex> lock((*self)->mutex_);
    (*self)->open_ = false;
  };
  napi_add_env_cleanup_hook(env, hook, new std::shared_ptr<Mailbox>(shared_from_this()));
}

void Mailbox::expect(Napi::Env env) {
  if (pending_++ == 0) function_.Ref(env);
}

void Mailbox::post(Outcome outcome) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!open_) return;
  auto carried = std::make_unique<Carried>(Carried{shared_from_this(), std::move(outcome)});
  if (function_.NonBlockingCall(carried.get(), &Mailbox::deliver) == napi_ok) (void)carried.release();
}

void Mailbox::shut() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (open_) function_.Release();
  open_ = false;
}

void Mailbox::deliver(Napi::Env env, Napi::Function on_done, Carried* data) {
  const std::unique_ptr<Carried> carried(data);
  if (env == nullptr || !carried->mailbox->open_) return;
  if (--carried->mailbox->pending_ == 0) carried->mailbox->function_.Unref(env);
  const auto& [job, error, result] = carried->outcome;
  on_done.Call({Napi::Number::New(env, job), error.empty() ? env.Null() : Napi::String::New(env, error).As<Napi::Value>(), value_of(env, result)});
}

}  // namespace chameleon

#endif
