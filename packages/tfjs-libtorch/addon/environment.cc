#include "environment.h"

#include <atomic>
#include <new>

#include "device-memory.h"
#include "onednn.h"

namespace chameleon {
namespace {

/// Environments are numbered in the order in which they begin.
uint64_t next_environment() {
  static std::atomic<uint64_t> count{0};
  return count++;
}

Napi::Error out_of_memory(Napi::Env env, const std::string& message, int64_t wanted_bytes, int64_t live_bytes, int64_t limit_bytes) {
  auto error = Napi::Error::New(env, message);
  error.Set("code", "ERR_OUT_OF_MEMORY");
  if (wanted_bytes > 0) error.Set("wantedBytes", static_cast<double>(wanted_bytes));
  error.Set("liveBytes", static_cast<double>(live_bytes));
  if (limit_bytes > 0) error.Set("limitBytes", static_cast<double>(limit_bytes));
  return error;
}

/// The same of memory that the allocator was not asked for: a GPU's, an operator's own.
Napi::Error out_of_memory(Napi::Env env, const std::string& message) {
  const auto device = environment(env).device;
  return out_of_memory(env, message, 0, memory_of(device).live_bytes, limit_of(device));
}

}  // namespace

Napi::Error error_at_hand(Napi::Env env) {
  try {
    throw;
  } catch (const OutOfMemory& error) {
    return out_of_memory(env, error.what_without_backtrace(), error.wanted_bytes, error.live_bytes, error.limit_bytes);
  } catch (const c10::OutOfMemoryError& error) {
    return out_of_memory(env, std::string("out of memory: ") + error.what_without_backtrace());
  } catch (const c10::Error& error) {
    return Napi::Error::New(env, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return out_of_memory(env, "out of memory: the operator could not get what it needs for itself");
#if CHAMELEON_ONEDNN
  } catch (const dnnl::error& error) {
    return error.status == dnnl_out_of_memory ? out_of_memory(env, std::string("out of memory: ") + error.what()) : Napi::Error::New(env, error.what());
#endif
  } catch (const std::exception& error) {
    return Napi::Error::New(env, error.what());
  } catch (...) {
    return Napi::Error::New(env, "libtorch threw what is no exception of C++'s");
  }
}

SlotMap::SlotMap() : environment_(next_environment() % (1u << kEnvironmentBits)) {}

uint64_t SlotMap::handle_of(uint64_t index) const {
  return (((environment_ << kGenerationBits) | slots_[index].generation) << kIndexBits) | index;
}

double SlotMap::put(at::Tensor tensor) {
  uint32_t index;
  if (free_.empty()) {
    TORCH_CHECK(slots_.size() < (1u << kIndexBits), "more than ", 1u << kIndexBits, " tensors are alive");
    index = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  slots_[index].tensor = std::move(tensor);
  return static_cast<double>(handle_of(index));
}

SlotMap::Slot* SlotMap::find(double handle) {
  constexpr double kEnd = static_cast<double>(uint64_t{1} << (kIndexBits + kGenerationBits + kEnvironmentBits));
  const auto bits = handle >= 0 && handle < kEnd ? static_cast<uint64_t>(handle) : ~uint64_t{0};
  const uint64_t index = bits & ((1u << kIndexBits) - 1);
  return index < slots_.size() && handle_of(index) == bits && slots_[index].tensor.defined() ? &slots_[index] : nullptr;
}

SlotMap::Slot& SlotMap::slot(double handle) {
  Slot* found = find(handle);
  TORCH_CHECK(found != nullptr, "a tensor was used after it was disposed, or in another thread than its own (handle ", handle, ")");
  return *found;
}

at::Tensor& SlotMap::get(double handle) {
  Slot& held = slot(handle);
  if (held.restore) {
    held.tensor = held.restore();
    held.restore = nullptr;
  }
  return held.tensor;
}

at::Tensor SlotMap::glance(double handle) {
  const Slot& held = slot(handle);
  return held.restore ? held.restore() : held.tensor;
}

void SlotMap::stow(double handle, std::function<at::Tensor()> restore) {
  Slot& held = slot(handle);
  held.tensor = at::empty_strided(held.tensor.sizes(), held.tensor.strides(), held.tensor.options().device(at::kMeta));
  held.restore = std::move(restore);
}

bool SlotMap::is(double handle, const at::Tensor& tensor) {
  const Slot* found = find(handle);
  return found != nullptr && found->tensor.is_same(tensor);
}

void SlotMap::release(double handle) {
  Slot& released = slot(handle);
  released.tensor = at::Tensor();
  released.restore = nullptr;
  released.generation = (released.generation + 1) % (1u << kGenerationBits);
  free_.push_back(static_cast<uint32_t>(static_cast<uint64_t>(handle) & ((1u << kIndexBits) - 1)));
}

}  // namespace chameleon
