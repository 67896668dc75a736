#include "summation.h"

#include <algorithm>
#include <cstring>

namespace chameleon {
namespace {

#define CHAMELEON_VECTORISED __attribute__((target_clones("avx512f", "avx2,fma", "default")))

// A tile's sums stay in the first cache.
constexpr int64_t kTile = 1024;

template <class T>
inline void add_tile(T* sums, const T* part, int64_t count) {
  for (int64_t i = 0; i < count; i++) sums[i] += part[i];
}

/// bfloat16 is the upper half of a float32.
inline void add_tile(float* sums, const uint16_t* part, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const uint32_t bits = static_cast<uint32_t>(part[i]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    sums[i] += value;
  }
}

template <class T>
inline void store_tile(const T* sums, T* out, int64_t count) {
  std::copy(sums, sums + count, out);
}

/// To the nearest, ties to even; a NaN stays one.
inline void store_tile(const float* sums, uint16_t* out, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, &sums[i], sizeof bits);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    out[i] = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
  }
}

template <class T, class Sum>
inline void sum_tiles(const T* const* parts, size_t part_count, T* out, int64_t count) {
  Sum sums[kTile];
  for (int64_t from = 0; from < count; from += kTile) {
    const int64_t length = std::min(kTile, count - from);
    std::fill(sums, sums + length, Sum(0));
    for (size_t p = 0; p < part_count; p++) add_tile(sums, parts[p] + from, length);
    store_tile(sums, out + from, length);
  }
}

CHAMELEON_VECTORISED void sum_floats(const float* const* parts, size_t part_count, float* out, int64_t count) { sum_tiles<float, float>(parts, part_count, out, count); }
CHAMELEON_VECTORISED void sum_doubles(const double* const* parts, size_t part_count, double* out, int64_t count) { sum_tiles<double, double>(parts, part_count, out, count); }
CHAMELEON_VECTORISED void sum_halves(const uint16_t* const* parts, size_t part_count, uint16_t* out, int64_t count) { sum_tiles<uint16_t, float>(parts, part_count, out, count); }

}  // namespace

void sum_parts(const std::vector<const float*>& parts, float* out, int64_t count) { sum_floats(parts.data(), parts.size(), out, count); }

void sum_parts(const std::vector<const double*>& parts, double* out, int64_t count) { sum_doubles(parts.data(), parts.size(), out, count); }

void sum_parts(const std::vector<const c10::BFloat16*>& parts, c10::BFloat16* out, int64_t count) {
  sum_halves(reinterpret_cast<const uint16_t* const*>(parts.data()), parts.size(), reinterpret_cast<uint16_t*>(out), count);
}

}  // namespace chameleon
