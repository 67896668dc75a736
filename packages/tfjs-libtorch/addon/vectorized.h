// What kernels of our own are written with: loops that the compiler turns into each processor's vectors, over float32, bfloat16 or double.
#pragma once

#include <cstdint>
#include <cstring>

#define CHAMELEON_INLINE inline __attribute__((always_inline))
/// The same, for a lambda.
#define CHAMELEON_INLINED __attribute__((always_inline))
#define CHAMELEON_CLONES __attribute__((target_clones("avx512f", "avx2,fma", "default")))

namespace chameleon {

/// bfloat16 in memory, float32 in registers.
using Half = uint16_t;

CHAMELEON_INLINE double widened(double value) { return value; }
CHAMELEON_INLINE float widened(float value) { return value; }
CHAMELEON_INLINE float widened(Half bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

CHAMELEON_INLINE void store(double* to, double value) { *to = value; }
CHAMELEON_INLINE void store(float* to, float value) { *to = value; }
/// Rounds to nearest, ties to even; a NaN stays one.
CHAMELEON_INLINE void store(Half* to, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  *to = static_cast<Half>(value == value ? rounded : 0x7fc0u);
}

}  // namespace chameleon
