// What one JavaScript environment (the main thread or a worker thread) owns:
// its tensors, by handle, and the operators that it has looked up.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <napi.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace chameleon {

/// Tensors by handle. A handle is the environment's number, a slot's generation and its index, so that one used after
/// its release, or in another thread, is an error and never another tensor.
class SlotMap {
 public:
  SlotMap();
  double put(at::Tensor tensor);
  at::Tensor& get(double handle);
  /// The tensor for one reading: where its values are stowed they stay so.
  at::Tensor glance(double handle);
  /// Its shape and type alone: where its values are stowed, a tensor of the device "meta".
  const at::Tensor& outline(double handle) { return slot(handle).tensor; }
  /// Lets go of a tensor's values, which `restore` makes again for the first who gets them.
  void stow(double handle, std::function<at::Tensor()> restore);
  /// Whether the handle is still that very tensor's.
  bool is(double handle, const at::Tensor& tensor);
  void release(double handle);
  size_t size() const { return slots_.size() - free_.size(); }

 private:
  // 53 bits are what a JavaScript number holds exactly.
  static constexpr uint64_t kIndexBits = 24, kGenerationBits = 21, kEnvironmentBits = 8;
  struct Slot {
    at::Tensor tensor;
    std::function<at::Tensor()> restore;
    uint64_t generation = 0;
  };
  uint64_t handle_of(uint64_t index) const;
  /// Null where the handle is nobody's.
  Slot* find(double handle);
  Slot& slot(double handle);
  const uint64_t environment_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

struct ConvolutionPlans;

struct Environment {
  /// Where tensors are made.
  at::Device device{at::kCPU};
  SlotMap tensors;
  std::vector<c10::OperatorHandle> operators;
  std::shared_ptr<ConvolutionPlans> convolutions;
};

inline Environment& environment(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

/// The exception at hand as a JavaScript error with ATen's message. Of memory that could not be had it has the code ERR_OUT_OF_MEMORY and
/// what is known of wantedBytes, liveBytes and limitBytes.
Napi::Error error_at_hand(Napi::Env env);

/// Runs an entry of the addon: what ATen throws becomes a JavaScript error.
template <class F>
Napi::Value guarded(const Napi::CallbackInfo& info, F entry) {
  try {
    return entry();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw error_at_hand(info.Env());
  }
}

}  // namespace chameleon
