// The arithmetic of an all-reduce: blocks of the same place on all ranks, summed in the order of the ranks.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <vector>

namespace chameleon {

/// out[i] = parts[0][i] + parts[1][i] + …; `out` may be one of the parts. bfloat16 is summed in float32 and rounded once, to the nearest.
void sum_parts(const std::vector<const float*>& parts, float* out, int64_t count);
void sum_parts(const std::vector<const double*>& parts, double* out, int64_t count);
void sum_parts(const std::vector<const c10::BFloat16*>& parts, c10::BFloat16* out, int64_t count);

}  // namespace chameleon
