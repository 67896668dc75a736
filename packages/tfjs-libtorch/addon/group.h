// A group of ranks: a thread that meets the others and then does jobs with them, one after the other.
#pragma once

#include "mailbox.h"

#if defined(CHAMELEON_COLLECTIVES)

#include <condition_variable>
#include <deque>
#include <functional>

namespace chameleon {

struct MeetingOptions {
  /// gloo or nccl
  std::string kind;
  int rank, world_size;
  std::string host;
  uint16_t port;
  std::string prefix, address;
  std::chrono::milliseconds timeout;
};

/// One group as its thread and JavaScript's share it.
class Group : public std::enable_shared_from_this<Group> {
 public:
  using Job = std::function<at::Tensor(Peers&)>;

  Group(MeetingOptions options, std::shared_ptr<Mailbox> mailbox) : options_(std::move(options)), mailbox_(std::move(mailbox)) {}

  const MeetingOptions& options() const { return options_; }
  Mailbox& mailbox() { return *mailbox_; }

  /// Begins to meet the others; that is job 0. The thread holds the group until its work is over, also when JavaScript has forgotten it.
  void start();
  void enqueue(uint32_t id, Job job, bool last = false);
  /// No job is heard of any more; what is waited for is given up.
  void abandon();

 private:
  struct Entry {
    uint32_t id;
    Job job;
    bool last;
  };

  void run();
  std::string attempt(uint32_t id, const std::function<at::Tensor()>& job, const std::function<void()>& after = {});
  std::unique_ptr<Entry> next();
  void hold(Peers* peers);
  bool abandoned();
  std::unique_ptr<Peers> meet();
  std::unique_ptr<Peers> form(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options) const;
  template <class Condition, class Left>
  bool wait_until(Condition condition, Left left);
  std::string absent(const std::vector<int>& ranks) const;

  const MeetingOptions options_;
  const std::shared_ptr<Mailbox> mailbox_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> queue_;
  bool abandoned_ = false;
  Peers* peers_ = nullptr;
};

}  // namespace chameleon

#endif
