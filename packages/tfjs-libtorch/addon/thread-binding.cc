// A server's computations are short and far apart. The kernel then finds both threads of one little to do and packs them on one processor:
// a request of ResNet34 took 35 ms instead of 18. Bound, they begin where they should.
#include "thread-binding.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <vector>

#include "environment.h"

// Of the OpenMP runtime that libtorch brings along, which may have another name than this compiler's: linked with through libtorch alone.
// A parallel region of this addon's own would ask for a second runtime, whose threads would be others than those that compute.
extern "C" {
void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned flags) __attribute__((weak));
int omp_get_thread_num(void) __attribute__((weak));
}

namespace chameleon {
namespace {

/// Each thread of a region takes the processor of its number.
void bind_own(void* processors) {
  cpu_set_t own;
  CPU_ZERO(&own);
  CPU_SET((*static_cast<const std::vector<size_t>*>(processors))[static_cast<size_t>(omp_get_thread_num())], &own);
  sched_setaffinity(0, sizeof own, &own);
}

}  // namespace

Napi::Value bind_threads(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    cpu_set_t allowed;
    TORCH_CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "the processors of this thread can't be asked for");
    std::vector<size_t> processors;
    for (size_t i = 0; i < CPU_SETSIZE; i++)
      if (CPU_ISSET(i, &allowed)) processors.push_back(i);
    const auto threads = at::get_num_threads();
    const bool binds = GOMP_parallel != nullptr && omp_get_thread_num != nullptr && threads > 1 && static_cast<size_t>(threads) == processors.size();
    if (binds) GOMP_parallel(bind_own, &processors, static_cast<unsigned>(threads), 0);
    return Napi::Boolean::New(info.Env(), binds);
  });
}

}  // namespace chameleon
