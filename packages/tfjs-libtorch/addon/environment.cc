#include "environment.h"

namespace chameleon {

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
  return static_cast<double>((slots_[index].generation << kIndexBits) | index);
}

SlotMap::Slot& SlotMap::slot(double handle) {
  const auto bits = static_cast<uint64_t>(handle);
  const uint64_t index = bits & ((1u << kIndexBits) - 1);
  TORCH_CHECK(handle >= 0 && index < slots_.size() && slots_[index].generation == bits >> kIndexBits && slots_[index].tensor.defined(),
              "a tensor was used after it was disposed, or in another thread than its own (handle ", bits, ")");
  return slots_[index];
}

at::Tensor& SlotMap::get(double handle) { return slot(handle).tensor; }

void SlotMap::release(double handle) {
  Slot& released = slot(handle);
  released.tensor = at::Tensor();
  released.generation++;
  free_.push_back(static_cast<uint32_t>(static_cast<uint64_t>(handle) & ((1u << kIndexBits) - 1)));
}

}  // namespace chameleon
