// What ranks do together once they have met.
#pragma once

#if defined(USE_C10D_GLOO) || defined(USE_C10D_NCCL)
#define CHAMELEON_COLLECTIVES

#include <ATen/ATen.h>

#include <chrono>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

namespace chameleon {

class Peers {
 public:
  virtual ~Peers() = default;

  /// Sums a flat tensor of all ranks where it lies; its length is a multiple of the number of ranks. All ranks hold the same bits then.
  /// Until `settle` other ranks may still read it: it must stay as it is.
  virtual void sum(const at::Tensor& tensor) = 0;

  /// Waits until all ranks have done what they were asked to, and throws where one has given up before.
  virtual void settle() {}

  /// The root's bytes.
  virtual at::Tensor broadcast(const at::Tensor& bytes, int root) = 0;

  /// From any thread: what is waited for, and all that follows, throws at once.
  virtual void give_up() = 0;

  /// A sum whose result is known, over every connection.
  void prove(int world_size) {
    const auto ones = at::ones({world_size}, at::kDouble);
    sum(ones);
    settle();
    for (int i = 0; i < world_size; i++) TORCH_CHECK(ones.data_ptr<double>()[i] == world_size, "the ranks' first sum is ", ones.data_ptr<double>()[i], ", not ", world_size);
  }
};

struct PeerOptions {
  int rank, world_size;
  /// Of this host, for the others.
  std::string address;
  std::chrono::milliseconds timeout;
};

#if defined(USE_C10D_GLOO)
/// Over Gloo, in the processor's memory. Connects to all other ranks; throws when one can't be reached, or the address is none of this host's.
std::unique_ptr<Peers> gloo_peers(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options);
#endif

#if defined(USE_C10D_NCCL)
/// Over NCCL, on this process's first CUDA device. Connects when the first sum is made.
std::unique_ptr<Peers> nccl_peers(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options);
#endif

}  // namespace chameleon

#endif
