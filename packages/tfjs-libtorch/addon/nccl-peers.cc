// NCCL's collectives, for ranks of a CUDA device each. It has been compiled, and not been run.
#include "peers.h"

#if defined(USE_C10D_NCCL)

#include <atomic>
#include <cstdlib>
#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <torch/version.h>

namespace chameleon {
namespace {

/// c10d's own watchdog ends the whole process when a peer is gone; here the coordinator says what happens then.
void keep_the_process() {
  static const bool kept = [] {
    for (const char* name : {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "NCCL_ASYNC_ERROR_HANDLING", "TORCH_NCCL_ENABLE_MONITORING"}) setenv(name, "0", 0);
    return true;
  }();
  (void)kept;
}

class NcclPeers : public Peers {
 public:
  NcclPeers(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options) {
    keep_the_process();
    auto nccl = c10d::ProcessGroupNCCL::Options::create();
    nccl->timeout = options.timeout;
    group_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, options.rank, options.world_size, nccl);
  }

  /// In the thread that used it: it may take a while, and hang; the worker's own watchdog then ends the process.
  ~NcclPeers() override {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 6)
    if (given_up_) group_->abort();
#endif
  }

  void sum(const at::Tensor& tensor) override {
    std::vector<at::Tensor> on_device{tensor.is_cuda() ? tensor : tensor.to(at::kCUDA)};
    finish(group_->allreduce(on_device));
    if (!tensor.is_cuda()) tensor.copy_(on_device[0]);
  }

  at::Tensor broadcast(const at::Tensor& bytes, int root) override {
    const auto length = at::zeros({1}, at::kLong);
    if (bytes.defined()) length.fill_(bytes.numel());
    pass(length, root);
    const auto out = bytes.defined() ? bytes : at::empty({length.item<int64_t>()}, at::kByte);
    if (out.numel() > 0) pass(out, root);
    return out;
  }

  void give_up() override { given_up_ = true; }

 private:
  void pass(const at::Tensor& tensor, int root) {
    std::vector<at::Tensor> on_device{tensor.to(at::kCUDA)};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    finish(group_->broadcast(on_device, options));
    tensor.copy_(on_device[0]);
  }

  /// Asks, and does not wait on the device's stream: the way back goes on there meanwhile.
  template <class Work>
  void finish(const Work& work) {
    while (!work->isCompleted()) {
      TORCH_CHECK(!given_up_, "given up");
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    TORCH_CHECK(!given_up_, "given up");
    work->wait();
  }

  std::atomic<bool> given_up_{false};
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> group_;
};

}  // namespace

std::unique_ptr<Peers> nccl_peers(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options) { return std::make_unique<NcclPeers>(store, options); }

}  // namespace chameleon

#endif
