// How much more memory this process may take. Linux promises more than it has and then ends whoever takes it at its word, so what is left
// has to be known for its lack to be an error.
#pragma once

#include <cstdint>

namespace chameleon {

struct Headroom {
  int64_t bytes;
  const char* limit;  // whose word it is, "the machine's memory"
};

/// The least of what the machine has left, of what its control groups leave (version 1 or 2), and of what `ulimit -v` does; less what
/// JavaScript and the threads need to go on. Can be below 0. Takes some tens of microseconds.
Headroom headroom();

}  // namespace chameleon
