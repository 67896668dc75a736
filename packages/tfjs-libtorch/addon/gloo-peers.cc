// c10d's point-to-point calls over Gloo, and the collectives made of them. c10d's own all-reduce is not used: it knows no bfloat16, waits for a
// stopped peer until its time is out, and sums in an order that depends on the number of ranks.
#include "peers.h"

#if defined(USE_C10D_GLOO)

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "peer-memory.h"
#include "summation.h"

namespace chameleon {
namespace {

// A block is summed while it is still in the processor's cache, and on its way again while the next one comes.
constexpr int64_t kBlockBytes = 1 << 20;
constexpr int64_t kBroadcastBytes = 4 << 20;
// Less than this is sent sooner than it is agreed upon who reads what.
constexpr int64_t kReadBytes = 64 << 10;

/// `CHAMELEON_PEER_MEMORY=off` has ranks of one machine use connections as those of several do.
bool may_read_memory() {
  const char* wanted = std::getenv("CHAMELEON_PEER_MEMORY");
  return wanted == nullptr || std::string(wanted) != "off";
}

class GlooPeers : public Peers {
 public:
  GlooPeers(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options) : rank_(options.rank), world_size_(options.world_size) {
    auto gloo = c10d::ProcessGroupGloo::Options::create(options.timeout);
    // Left to itself Gloo announces what the host's name resolves to, which is 127.0.0.1 on many machines.
    gloo->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(options.address));
    gloo->threads = 1;
    group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, options.rank, options.world_size, gloo);
  }

  /// The sum is made in the order of the ranks by one of them for each place. bfloat16 is summed in float32.
  void sum(const at::Tensor& tensor) override;
  void settle() override;
  /// Down a binomial tree.
  at::Tensor broadcast(const at::Tensor& bytes, int root) override;
  void give_up() override;

 private:
  using Work = c10::intrusive_ptr<c10d::Work>;
  Work send(const void* data, int64_t bytes, int peer, int tag);
  Work receive(void* data, int64_t bytes, int peer, int tag);
  void finish(const Work& work);
  template <class T>
  void sum_values(T* values, int64_t count);
  template <class T>
  void sum_by_connections(T* values, int64_t count);
  template <class T>
  void sum_by_memory(T* values, int64_t count);
  void look_for_memory();
  template <class Message>
  std::vector<Message> swap(const Message& own, int tag);
  void agree(int tag) { swap(char{1}, tag); }
  void pass_down(char* data, int64_t bytes, int root);

  const int rank_, world_size_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  /// The other ranks' memory, by rank, where all ranks are on one machine and may read each other's; else empty.
  std::vector<PeerMemory> memory_;
  bool looked_for_memory_ = false;
  /// Whether others may be reading what was summed.
  bool unsettled_ = false;
  std::mutex mutex_;
  Work waited_for_;
  bool given_up_ = false;
};

void GlooPeers::sum(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_cpu(), "Gloo sums what lies in the processor's memory");
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return sum_values(tensor.data_ptr<float>(), tensor.numel());
    case at::kDouble:
      return sum_values(tensor.data_ptr<double>(), tensor.numel());
    case at::kBFloat16:
      return sum_values(tensor.data_ptr<c10::BFloat16>(), tensor.numel());
    default:
      TORCH_CHECK(false, "ranks sum float32, float64 and bfloat16, not ", tensor.toString());
  }
}

template <class T>
void GlooPeers::sum_values(T* values, int64_t count) {
  if (!looked_for_memory_) look_for_memory();
  if (memory_.empty() || count * static_cast<int64_t>(sizeof(T)) < kReadBytes) sum_by_connections(values, count);
  else sum_by_memory(values, count);
}

/// All ranks' messages, by rank.
template <class Message>
std::vector<Message> GlooPeers::swap(const Message& own, int tag) {
  std::vector<Message> messages(world_size_, own);
  std::vector<Work> works;
  for (int distance = 1; distance < world_size_; distance++) {
    const int peer = (rank_ + distance) % world_size_;
    works.push_back(receive(&messages[peer], sizeof(Message), peer, tag));
    works.push_back(send(&messages[rank_], sizeof(Message), peer, tag));
  }
  for (const auto& work : works) finish(work);
  return messages;
}

/// The ranks do the same, whatever each of them is allowed: all read, or none does.
void GlooPeers::look_for_memory() {
  looked_for_memory_ = true;
  const auto cards = swap(own_memory_card(), 0);
  bool can = may_read_memory();
  for (int rank = 0; rank < world_size_ && can; rank++) can = rank == rank_ || PeerMemory::can_read(cards[rank]);
  const auto all_can = swap(static_cast<char>(can), 1);
  if (std::find(all_can.begin(), all_can.end(), 0) != all_can.end()) return;
  for (const auto& card : cards) memory_.emplace_back(card.process);
}

/// Each rank sums its share of the places, reading the others' numbers where they lie, and then reads their sums. The connections carry only
/// who is how far.
template <class T>
void GlooPeers::sum_by_memory(T* values, int64_t count) {
  const int64_t share = count / world_size_, block = std::min<int64_t>(share, kBlockBytes / static_cast<int64_t>(sizeof(T)));
  const auto places = swap(reinterpret_cast<uint64_t>(values), 0);
  const auto at_rank = [&](int peer, int64_t place) { return places[peer] + static_cast<uint64_t>(place) * sizeof(T); };
  const auto scratch = at::empty({(world_size_ - 1) * block * static_cast<int64_t>(sizeof(T))}, at::kByte);
  for (int64_t from = 0; from < share; from += block) {
    const int64_t length = std::min(block, share - from), place = rank_ * share + from;
    std::vector<const T*> parts;
    T* next = reinterpret_cast<T*>(scratch.data_ptr());
    for (int rank = 0; rank < world_size_; rank++) {
      if (rank == rank_) {
        parts.push_back(values + place);
        continue;
      }
      memory_[rank].read(at_rank(rank, place), next, length * static_cast<int64_t>(sizeof(T)));
      parts.push_back(next);
      next += block;
    }
    sum_parts(parts, values + place, length);
  }
  agree(1);
  for (int distance = 1; distance < world_size_; distance++) {
    const int peer = (rank_ + distance) % world_size_;
    memory_[peer].read(at_rank(peer, peer * share), values + peer * share, share * static_cast<int64_t>(sizeof(T)));
  }
  unsettled_ = true;
}

/// The last word comes from ranks that know that all have read: one that gives up before it leaves nobody with what stands in its memory
/// afterwards.
void GlooPeers::settle() {
  if (!unsettled_) return;
  agree(0);
  agree(1);
  unsettled_ = false;
}

/// Each rank sums its share of the places, a block at a time, and sends the sums to all others. Receives are announced
/// before anything is sent. Others' sums go straight to where this rank's own numbers were: they can't come before those have gone.
template <class T>
void GlooPeers::sum_by_connections(T* values, int64_t count) {
  const int64_t share = count / world_size_, block = std::min<int64_t>(share, kBlockBytes / static_cast<int64_t>(sizeof(T)));
  if (share == 0) return;
  const auto bytes_at = [&](int64_t from) { return std::min(block, share - from) * static_cast<int64_t>(sizeof(T)); };
  const auto scratch = at::empty({(world_size_ - 1) * share * static_cast<int64_t>(sizeof(T))}, at::kByte);
  const auto brought_by = [&](int peer) { return reinterpret_cast<T*>(scratch.data_ptr()) + (peer < rank_ ? peer : peer - 1) * share; };
  std::vector<Work> brought, sums, sent;
  int tag = 0;
  for (int64_t from = 0; from < share; from += block, tag += 2) {
    for (int distance = 1; distance < world_size_; distance++) {
      const int peer = (rank_ + distance) % world_size_;
      brought.push_back(receive(brought_by(peer) + from, bytes_at(from), peer, tag));
      sums.push_back(receive(values + peer * share + from, bytes_at(from), peer, tag + 1));
      sent.push_back(send(values + peer * share + from, bytes_at(from), peer, tag));
    }
  }
  size_t next = 0;
  tag = 0;
  for (int64_t from = 0; from < share; from += block, tag += 2) {
    for (int distance = 1; distance < world_size_; distance++) finish(brought[next++]);
    T* own = values + rank_ * share + from;
    std::vector<const T*> parts;
    for (int rank = 0; rank < world_size_; rank++) parts.push_back(rank == rank_ ? own : brought_by(rank) + from);
    sum_parts(parts, own, std::min(block, share - from));
    for (int distance = 1; distance < world_size_; distance++) sent.push_back(send(own, bytes_at(from), (rank_ + distance) % world_size_, tag + 1));
  }
  for (const auto& work : sums) finish(work);
  for (const auto& work : sent) finish(work);
}

at::Tensor GlooPeers::broadcast(const at::Tensor& bytes, int root) {
  int64_t length = bytes.defined() ? bytes.numel() : 0;
  pass_down(reinterpret_cast<char*>(&length), sizeof length, root);
  const auto out = rank_ == root ? bytes : at::empty({length}, at::kByte);
  for (int64_t from = 0; from < length; from += kBroadcastBytes) pass_down(static_cast<char*>(out.data_ptr()) + from, std::min(kBroadcastBytes, length - from), root);
  return out;
}

/// Counted from the root, a rank's number without its lowest bit is whom it hears from; with one below it set, whom it tells.
void GlooPeers::pass_down(char* data, int64_t bytes, int root) {
  const int own = (rank_ - root + world_size_) % world_size_;
  int bit = 1;
  while (bit < world_size_ && (own & bit) == 0) bit <<= 1;
  if (own != 0) finish(receive(data, bytes, (own - bit + root) % world_size_, 0));
  std::vector<Work> sent;
  for (bit >>= 1; bit > 0; bit >>= 1)
    if (own + bit < world_size_) sent.push_back(send(data, bytes, (own + bit + root) % world_size_, 0));
  for (const auto& work : sent) finish(work);
}

GlooPeers::Work GlooPeers::send(const void* data, int64_t bytes, int peer, int tag) {
  std::vector<at::Tensor> tensors{at::from_blob(const_cast<void*>(data), {bytes}, at::kByte)};
  return group_->send(tensors, peer, tag);
}

GlooPeers::Work GlooPeers::receive(void* data, int64_t bytes, int peer, int tag) {
  std::vector<at::Tensor> tensors{at::from_blob(data, {bytes}, at::kByte)};
  return group_->recv(tensors, peer, tag);
}

void GlooPeers::finish(const Work& work) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    TORCH_CHECK(!given_up_, "given up");
    waited_for_ = work;
  }
  const bool done = work->wait();
  std::lock_guard<std::mutex> lock(mutex_);
  waited_for_.reset();
  TORCH_CHECK(done && !given_up_, "given up");
}

void GlooPeers::give_up() {
  std::lock_guard<std::mutex> lock(mutex_);
  given_up_ = true;
  if (waited_for_.defined()) waited_for_->abort();
}

}  // namespace

std::unique_ptr<Peers> gloo_peers(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options) { return std::make_unique<GlooPeers>(store, options); }

}  // namespace chameleon

#endif
