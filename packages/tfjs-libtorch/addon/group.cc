#include "group.h"

#include "meeting-store.h"

#if defined(CHAMELEON_COLLECTIVES)

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

namespace chameleon {
namespace {

using Clock = std::chrono::steady_clock;

/// Set when the process ends: libtorch's own static objects go, so a thread that still waits for a peer touches nothing any more.
std::atomic<bool> process_ends{false};

void watch_the_process() {
  static const bool watched = std::atexit([] { process_ends = true; }) == 0;
  (void)watched;
}

void stop_if_the_process_ends() {
  while (process_ends) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// Whether somebody listens there.
bool answers(const MeetingOptions& options) {
  const int socket = connect_to(options.host, options.port, std::chrono::milliseconds(200));
  if (socket < 0) return false;
  close(socket);
  return true;
}

}  // namespace

void Group::start() {
  watch_the_process();
  std::thread([self = shared_from_this()] { self->run(); }).detach();
}

void Group::enqueue(uint32_t id, Job job, bool last) {
  std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back({id, std::move(job), last});
  changed_.notify_one();
}

void Group::abandon() {
  mailbox_->shut();
  std::lock_guard<std::mutex> lock(mutex_);
  abandoned_ = true;
  queue_.clear();
  if (peers_ != nullptr) peers_->give_up();
  changed_.notify_one();
}

void Group::run() {
  std::unique_ptr<Peers> peers;
  std::string error = attempt(0, [&] {
    peers = meet();
    hold(peers.get());
    peers->prove(options_.world_size);
    return at::Tensor();
  });
  for (auto entry = next(); entry; entry = next()) {
    if (error.empty() || entry->last) error = attempt(entry->id, [&] { return peers ? entry->job(*peers) : at::Tensor(); }, entry->last ? [&] { hold(nullptr); peers.reset(); } : std::function<void()>());
    else mailbox_->post({entry->id, error, {}});
    if (entry->last) break;
  }
  hold(nullptr);
  stop_if_the_process_ends();
}

/// Does a job and posts what became of it; gives its error. `after` runs before the word goes out.
std::string Group::attempt(uint32_t id, const std::function<at::Tensor()>& job, const std::function<void()>& after) {
  Outcome outcome{id, "", {}};
  try {
    outcome.result = job();
  } catch (const c10::Error& error) {
    outcome.error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    outcome.error = error.what();
  }
  stop_if_the_process_ends();
  if (after) after();
  mailbox_->post(outcome);
  return outcome.error;
}

std::unique_ptr<Group::Entry> Group::next() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return abandoned_ || !queue_.empty(); });
  if (abandoned_) return nullptr;
  auto entry = std::make_unique<Entry>(std::move(queue_.front()));
  queue_.pop_front();
  return entry;
}

void Group::hold(Peers* peers) {
  std::lock_guard<std::mutex> lock(mutex_);
  peers_ = peers;
  if (peers != nullptr && abandoned_) peers->give_up();
}

bool Group::abandoned() {
  std::lock_guard<std::mutex> lock(mutex_);
  return abandoned_;
}

template <class Condition, class Left>
bool Group::wait_until(Condition condition, Left left) {
  for (auto pause = std::chrono::milliseconds(2); !condition(); pause = std::min(2 * pause, std::chrono::milliseconds(50))) {
    if (abandoned()) throw std::runtime_error("given up");
    if (left() <= pause) return false;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

std::unique_ptr<Peers> Group::meet() {
  const auto began = Clock::now();
  auto left = [&] { return options_.timeout - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began); };
  const bool host = options_.rank == 0;
  if (!host && !wait_until([&] { return answers(options_); }, left)) throw std::runtime_error(absent({0}));
  const auto server = host ? serve_meeting(options_.address, options_.port) : nullptr;
  auto store = c10::make_intrusive<c10d::PrefixStore>(options_.prefix, meeting_store(host ? options_.address : options_.host, options_.port, options_.timeout, server));
  store->set("here/" + std::to_string(options_.rank), std::vector<uint8_t>{1});
  store->add("count", 1);
  if (!wait_until([&] { return store->add("count", 0) >= options_.world_size; }, left)) {
    std::vector<int> missing;
    for (int rank = 0; rank < options_.world_size; rank++)
      if (!store->check({"here/" + std::to_string(rank)})) missing.push_back(rank);
    throw std::runtime_error(absent(missing));
  }
  return form(store, {options_.rank, options_.world_size, options_.address, options_.timeout});
}

std::unique_ptr<Peers> Group::form(const c10::intrusive_ptr<c10d::Store>& store, const PeerOptions& options) const {
#if defined(USE_C10D_NCCL)
  if (options_.kind == "nccl") return nccl_peers(store, options);
#endif
#if defined(USE_C10D_GLOO)
  if (options_.kind == "gloo") return gloo_peers(store, options);
#endif
  throw std::runtime_error("the addon was compiled without " + options_.kind);
}

std::string Group::absent(const std::vector<int>& ranks) const {
  std::ostringstream text;
  text << (ranks.size() == 1 ? "rank " : "ranks ");
  for (size_t i = 0; i < ranks.size(); i++) text << (i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ") << ranks[i];
  text << " of " << options_.world_size << " did not come to " << options_.host << ":" << options_.port << " in " << options_.timeout.count() << " ms";
  return text.str();
}

}  // namespace chameleon

#endif
