#include "environment.h"

#include <atomic>

namespace chameleon {
namespace {

/// Environments are numbered in the order in which they begin.
uint64_t next_environment() {
  static std::atomic<uint64_t> count{0};
  return count++;
}

}  // namespace

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

SlotMap::Slot& SlotMap::slot(double handle) {
  constexpr double kEnd = static_cast<double>(uint64_t{1} << (kIndexBits + kGenerationBits + kEnvironmentBits));
  const auto bits = handle >= 0 && handle < kEnd ? static_cast<uint64_t>(handle) : ~uint64_t{0};
  const uint64_t index = bits & ((1u << kIndexBits) - 1);
  TORCH_CHECK(index < slots_.size() && handle_of(index) == bits && slots_[index].tensor.defined(),
              "a tensor was used after it was disposed, or in another thread than its own (handle ", handle, ")");
  return slots_[index];
}

at::Tensor& SlotMap::get(double handle) { return slot(handle).tensor; }

void SlotMap::release(double handle) {
  Slot& released = slot(handle);
  released.tensor = at::Tensor();
  released.generation = (released.generation + 1) % (1u << kGenerationBits);
  free_.push_back(static_cast<uint32_t>(static_cast<uint64_t>(handle) & ((1u << kIndexBits) - 1)));
}

}  // namespace chameleon
