// A server's computations are short and far apart. The kernel then finds both threads of one little to do and packs them on one processor:
// a request of ResNet34 took 35 ms instead of 18. Bound, they begin where they should.
#include "thread-binding.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <vector>

#include "environment.h"

namespace chameleon {

Napi::Value bind_threads(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    cpu_set_t allowed;
    TORCH_CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "the processors of this thread can't be asked for");
    std::vector<size_t> processors;
    for (size_t i = 0; i < CPU_SETSIZE; i++)
      if (CPU_ISSET(i, &allowed)) processors.push_back(i);
    const auto threads = at::get_num_threads();
#if defined(_OPENMP)
    const bool binds = threads > 1 && static_cast<size_t>(threads) == processors.size();
#else
    // The loop below would be the calling thread's alone, which would take the others it starts to its own processor.
    const bool binds = false;
#endif
    if (binds) {
      at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
        cpu_set_t own;
        CPU_ZERO(&own);
        CPU_SET(processors[static_cast<size_t>(at::get_thread_num())], &own);
        sched_setaffinity(0, sizeof own, &own);
      });
    }
    return Napi::Boolean::New(info.Env(), binds);
  });
}

}  // namespace chameleon
