// What ranks do together once they have met: c10d's point-to-point calls over Gloo, and the collectives made of them.
// c10d's own all-reduce is not used: it knows no bfloat16, waits for a stopped peer until its time is out, and sums in
// an order that depends on the number of ranks.
#pragma once

#if defined(USE_C10D_GLOO)

#include <ATen/ATen.h>

#include <chrono>
#include <mutex>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace chameleon {

class Peers {
 public:
  /// Connects to all other ranks. Throws when one can't be reached, or `address` is none of this host's.
  Peers(const c10::intrusive_ptr<c10d::Store>& store, int rank, int world_size, const std::string& address, std::chrono::milliseconds timeout);

  /// A sum whose result is known, over every connection.
  void prove();

  /// Sums a flat tensor of all ranks where it lies; its length is a multiple of the number of ranks. The sum is made in the
  /// order of the ranks by one of them for each place, so all ranks hold the same bits.
  void sum(const at::Tensor& tensor);

  /// The root's bytes, down a binomial tree.
  at::Tensor broadcast(const at::Tensor& bytes, int root);

  /// From any thread: what is waited for, and all that follows, throws at once.
  void give_up();

 private:
  using Work = c10::intrusive_ptr<c10d::Work>;
  Work send(const void* data, int64_t bytes, int peer, int tag);
  Work receive(void* data, int64_t bytes, int peer, int tag);
  void finish(const Work& work);
  template <class T>
  void sum_values(T* values, int64_t count);
  void pass_down(char* data, int64_t bytes, int root);

  const int rank_, world_size_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::mutex mutex_;
  Work waited_for_;
  bool given_up_ = false;
};

}  // namespace chameleon

#endif
