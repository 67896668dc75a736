#include "summation.h"

#include <algorithm>

#include "vectorized.h"

namespace chameleon {
namespace {

// A tile's sums stay in the first cache.
constexpr int64_t kTile = 1024;

template <class T, class Sum>
CHAMELEON_INLINE void sum_tiles(const T* const* parts, size_t part_count, T* out, int64_t count) {
  Sum sums[kTile];
  for (int64_t from = 0; from < count; from += kTile) {
    const int64_t length = std::min(kTile, count - from);
    std::fill(sums, sums + length, Sum(0));
    for (size_t p = 0; p < part_count; p++)
      for (int64_t i = 0; i < length; i++) sums[i] += widened(parts[p][from + i]);
    for (int64_t i = 0; i < length; i++) store(out + from + i, sums[i]);
  }
}

CHAMELEON_CLONES void sum_floats(const float* const* parts, size_t part_count, float* out, int64_t count) { sum_tiles<float, float>(parts, part_count, out, count); }
CHAMELEON_CLONES void sum_doubles(const double* const* parts, size_t part_count, double* out, int64_t count) { sum_tiles<double, double>(parts, part_count, out, count); }
CHAMELEON_CLONES void sum_halves(const Half* const* parts, size_t part_count, Half* out, int64_t count) { sum_tiles<Half, float>(parts, part_count, out, count); }

}  // namespace

void sum_parts(const std::vector<const float*>& parts, float* out, int64_t count) { sum_floats(parts.data(), parts.size(), out, count); }

void sum_parts(const std::vector<const double*>& parts, double* out, int64_t count) { sum_doubles(parts.data(), parts.size(), out, count); }

void sum_parts(const std::vector<const c10::BFloat16*>& parts, c10::BFloat16* out, int64_t count) {
  sum_halves(reinterpret_cast<const Half* const*>(parts.data()), parts.size(), reinterpret_cast<Half*>(out), count);
}

}  // namespace chameleon
