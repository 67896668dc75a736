// How a thread of a group's own tells JavaScript's thread what became of its jobs.
#pragma once

#include "peers.h"

#if defined(CHAMELEON_COLLECTIVES)

#include <napi.h>

#include <cstdint>
#include <mutex>

namespace chameleon {

/// What became of a job. An error that is empty is none.
struct Outcome {
  uint32_t job;
  std::string error;
  at::Tensor result;
};

/// Where the group's thread says in JavaScript's thread what became of its jobs; deaf once it is shut, or the environment has ended.
class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  /// `on_done(job, error, result)` is called once a job.
  Mailbox(Napi::Env env, const Napi::Function& on_done);

  void shut_at_the_end_of(Napi::Env env);
  /// A job that is waited for keeps the process alive.
  void expect(Napi::Env env);
  void post(Outcome outcome);
  void shut();

 private:
  struct Carried {
    std::shared_ptr<Mailbox> mailbox;
    Outcome outcome;
  };

  static void deliver(Napi::Env env, Napi::Function on_done, Carried* data);

  std::mutex mutex_;
  bool open_ = true;
  uint32_t pending_ = 0;
  Napi::ThreadSafeFunction function_;
};

}  // namespace chameleon

#endif
