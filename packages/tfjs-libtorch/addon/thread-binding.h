// Keeps the threads of this thread's operators on processors of their own.
#pragma once

#include <napi.h>

namespace chameleon {

/// bindThreads() → whether it did: the calling thread and those that help it get a processor each, where as many threads compute as there
/// are processors. Otherwise nothing is bound, for which processors others will want is not known.
Napi::Value bind_threads(const Napi::CallbackInfo& info);

}  // namespace chameleon
