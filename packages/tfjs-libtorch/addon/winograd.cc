// oneDNN's direct convolutions stand at nine tenths of what the processor can multiply: only fewer multiplications are faster. Each block
// of 2 x 2 outputs comes from a patch of 4 x 4 inputs. Patches and filters are taken to where a convolution is a product at each of 16
// places, which makes 16 products of matrices over the channels, and the sums are taken back. Patches, filters and the outputs' gradients are
// rounded to bfloat16 once more on the way; all sums are in float32, and an output doesn't depend on what else is in the batch.
#include "winograd.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <iterator>

// Clang knows the pragma below by another name, and GCC the instructions since 10.
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 10 && !defined(__clang__)
#define CHAMELEON_WINOGRAD 1
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace chameleon::winograd {

#if CHAMELEON_WINOGRAD

namespace {

constexpr int64_t kPlaces = 16;
/// Channels that go together: two registers of float32, one of bfloat16.
constexpr int64_t kGroup = 32;
/// Rows of a product that are computed together: with a group of columns, 24 sums in 32 registers.
constexpr int64_t kRows = 12;
/// The same for a filter's gradient, whose rows come in groups.
constexpr int64_t kGradientRows = 8;
/// What a core works on at once, patches and sums; less than its second cache.
constexpr int64_t kBlockBytes = 640 << 10;
/// Pixels are fetched so many tiles before they are read.
constexpr int64_t kAhead = 4;
/// Tiles of a filter's gradient that are read from the first cache, and what all cores work on at once.
constexpr int64_t kChunk = 256, kRoundBytes = 4 << 20;

/// The tiles of 2 x 2 that cover the pictures.
struct Grid {
  int64_t batch, height, width, rows, columns;
  explicit Grid(const Shape& s) : batch(s.batch), height(s.height), width(s.width), rows((s.height + 1) / 2), columns((s.width + 1) / 2) {}
  int64_t tiles() const { return batch * rows * columns; }

  /// Where a tile's first output lies.
  struct Corner {
    int64_t picture, top, left;
  };
  Corner corner(int64_t tile) const { return {tile / (rows * columns), tile / columns % rows * 2, tile % columns * 2}; }
};

/// Where the pixels of a tile begin, kSide to a row; those that lie off the picture are zeros.
template <int kSide>
struct Pixels {
  const Half* at[kSide * kSide];

  explicit Pixels(const Half* zeros) { std::fill(std::begin(at), std::end(at), zeros); }

  Pixels(const Half* pictures, int64_t channels, const Grid& g, int64_t tile, const Half* zeros) {
    constexpr int64_t border = kSide == 4 ? 1 : 0;
    const auto corner = g.corner(tile);
    const int64_t top = corner.top - border, left = corner.left - border;
    const Half* picture = pictures + corner.picture * g.height * g.width * channels;
    for (int64_t i = 0; i < kSide; i++)
      for (int64_t j = 0; j < kSide; j++) {
        const bool inside = top + i >= 0 && top + i < g.height && left + j >= 0 && left + j < g.width;
        at[i * kSide + j] = inside ? picture + ((top + i) * g.width + left + j) * channels : zeros;
      }
  }
};

int64_t rounded_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

/// Intel's manual, volume 2A, CPUID: leaf 7.
bool processor_can() {
  unsigned a, b, c, d;
  // Processors with AMX multiply bfloat16 in tiles, and faster so.
  constexpr unsigned amx_bf16 = 1u << 22, avx512_bf16 = 1u << 5;
  const bool has_amx = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx_bf16);
  const bool multiplies_halves = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx512_bf16);
  return multiplies_halves && !has_amx && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

}  // namespace

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

namespace {

/// Every second of 32 channels, from the first or from the second on.
enum class Parity { even, odd };

template <Parity kParity>
CHAMELEON_INLINE __m512 channels_of(const Half* from) {
  const __m512i bits = _mm512_loadu_si512(from);
  return _mm512_castsi512_ps(kParity == Parity::even ? _mm512_slli_epi32(bits, 16) : _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

/// Two registers of float32 as one of bfloat16, one after the other.
CHAMELEON_INLINE __m512i narrowed(__m512 first, __m512 second) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first)); }

/// first[0], second[0], first[1], second[1], …
CHAMELEON_INLINE __m512i alternating(__m512 first, __m512 second) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, narrowed(first, second));
}

/// 32 channels in order → the even ones, then the odd ones.
CHAMELEON_INLINE __m512i by_parity(__m512i channels) {
  const __m512i order = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  return _mm512_permutexvar_epi16(order, channels);
}

/// Bᵀ d B of a patch.
CHAMELEON_INLINE void transform_patch(__m512 (&d)[kPlaces]) {
  const auto line = [](__m512& a, __m512& b, __m512& c, __m512& e) CHAMELEON_INLINED {
    const __m512 first = a - c, second = b + c, third = c - b, fourth = b - e;
    a = first, b = second, c = third, e = fourth;
  };
  for (int i = 0; i < 4; i++) line(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]);
  for (int j = 0; j < 4; j++) line(d[j], d[4 + j], d[8 + j], d[12 + j]);
}

template <Parity kParity>
CHAMELEON_INLINE void patch_of(const Pixels<4>& pixels, int64_t channel, __m512 (&d)[kPlaces]) {
#pragma GCC unroll 16
  for (int i = 0; i < kPlaces; i++) d[i] = channels_of<kParity>(pixels.at[i] + channel);
  transform_patch(d);
}

/// A g Aᵀ of the gradient of 2 x 2 outputs.
template <Parity kParity>
CHAMELEON_INLINE void gradient_of(const Pixels<2>& pixels, int64_t channel, __m512 (&d)[kPlaces]) {
  __m512 g[4];
  for (int i = 0; i < 4; i++) g[i] = channels_of<kParity>(pixels.at[i] + channel);
  const __m512 rows[4][2] = {{g[0], g[1]}, {g[0] + g[2], g[1] + g[3]}, {g[0] - g[2], g[1] - g[3]}, {-g[2], -g[3]}};
  for (int i = 0; i < 4; i++) {
    d[4 * i] = rows[i][0];
    d[4 * i + 1] = rows[i][0] + rows[i][1];
    d[4 * i + 2] = rows[i][0] - rows[i][1];
    d[4 * i + 3] = -rows[i][1];
  }
}

CHAMELEON_INLINE __m512 sixteen(const float* from) { return _mm512_loadu_ps(from); }
CHAMELEON_INLINE __m512 sixteen(const Half* from) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16)); }

/// G w Gᵀ of 3 x 3 weights of 16 channels, `stride` values apart.
template <class T>
CHAMELEON_INLINE void weights_of(const T* w, int64_t stride, __m512 (&u)[kPlaces]) {
  const __m512 half = _mm512_set1_ps(0.5f);
  __m512 rows[4][3];
  for (int j = 0; j < 3; j++) {
    const __m512 a = sixteen(w + j * stride), b = sixteen(w + (3 + j) * stride), c = sixteen(w + (6 + j) * stride);
    const __m512 outer = (a + c) * half, middle = b * half;
    rows[0][j] = a, rows[1][j] = outer + middle, rows[2][j] = outer - middle, rows[3][j] = c;
  }
  for (int i = 0; i < 4; i++) {
    const __m512 outer = (rows[i][0] + rows[i][2]) * half, middle = rows[i][1] * half;
    u[4 * i] = rows[i][0], u[4 * i + 1] = outer + middle, u[4 * i + 2] = outer - middle, u[4 * i + 3] = rows[i][2];
  }
}

/// Aᵀ m A of the sums at the 16 places, `stride` values apart: 2 x 2 outputs.
CHAMELEON_INLINE void outputs_of(const float* m, int64_t stride, __m512 (&y)[4]) {
  __m512 rows[2][4];
  for (int j = 0; j < 4; j++) {
    const __m512 a = _mm512_loadu_ps(m + j * stride), b = _mm512_loadu_ps(m + (4 + j) * stride), c = _mm512_loadu_ps(m + (8 + j) * stride), d = _mm512_loadu_ps(m + (12 + j) * stride);
    rows[0][j] = a + b + c, rows[1][j] = b - c - d;
  }
  for (int i = 0; i < 2; i++) {
    y[2 * i] = rows[i][0] + rows[i][1] + rows[i][2];
    y[2 * i + 1] = rows[i][1] - rows[i][2] - rows[i][3];
  }
}

/// Gᵀ u G of the gradient at the 16 places, `stride` values apart: that of 3 x 3 weights.
CHAMELEON_INLINE void weights_gradient_of(const float* u, int64_t stride, __m512 (&w)[9]) {
  const __m512 half = _mm512_set1_ps(0.5f);
  __m512 rows[3][4];
  for (int j = 0; j < 4; j++) {
    const __m512 a = _mm512_loadu_ps(u + j * stride), b = _mm512_loadu_ps(u + (4 + j) * stride), c = _mm512_loadu_ps(u + (8 + j) * stride), d = _mm512_loadu_ps(u + (12 + j) * stride);
    const __m512 sum = (b + c) * half;
    rows[0][j] = a + sum, rows[1][j] = (b - c) * half, rows[2][j] = sum + d;
  }
  for (int i = 0; i < 3; i++) {
    const __m512 sum = (rows[i][1] + rows[i][2]) * half;
    w[3 * i] = rows[i][0] + sum, w[3 * i + 1] = (rows[i][1] - rows[i][2]) * half, w[3 * i + 2] = sum + rows[i][3];
  }
}

/// c[kCount][32] (+)= a · b over `steps` pairs: a's row i begins at a + i * row and goes on by `step` values, b is [steps][32][2], c's rows are `width` apart.
template <int kCount, bool kAdds>
CHAMELEON_INLINE void multiply(const Half* a, int64_t row, int64_t step, const Half* b, int64_t steps, float* c, int64_t width) {
  __m512 sums[kCount][2];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; i++)
    for (int j = 0; j < 2; j++) sums[i][j] = kAdds ? _mm512_loadu_ps(c + i * width + 16 * j) : _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; s++, a += step, b += 2 * kGroup) {
    const auto left = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b)), right = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + kGroup));
#pragma GCC unroll 16
    for (int i = 0; i < kCount; i++) {
      int pair;
      std::memcpy(&pair, a + i * row, sizeof pair);
      const auto value = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
      sums[i][0] = _mm512_dpbf16_ps(sums[i][0], value, left);
      sums[i][1] = _mm512_dpbf16_ps(sums[i][1], value, right);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; i++)
    for (int j = 0; j < 2; j++) _mm512_storeu_ps(c + i * width + 16 * j, sums[i][j]);
}

/// c[rows][32] = a[rows][channels] · b.
template <int kCount = kRows>
void multiply_rows(int64_t rows, const Half* a, int64_t channels, const Half* b, float* c) {
  for (; rows >= kCount; rows -= kCount, a += kCount * channels, c += kCount * kGroup) multiply<kCount, false>(a, channels, 2, b, channels / 2, c, kGroup);
  if constexpr (kCount > 1)
    if (rows > 0) multiply_rows<kCount - 1>(rows, a, channels, b, c);
}

/// Rows of 16 pairs → columns.
CHAMELEON_INLINE void transpose(__m512i (&r)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]), r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 2; j++) {
      t[8 * j + i] = _mm512_shuffle_i32x4(r[8 * j + i], r[8 * j + 4 + i], 0x88);
      t[8 * j + 4 + i] = _mm512_shuffle_i32x4(r[8 * j + i], r[8 * j + 4 + i], 0xdd);
    }
  for (int i = 0; i < 8; i++) r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88), r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
}

/// Filters of 3 x 3 in memory: how far apart a product's columns lie, the channels that it sums over, and the 9 weights. Either of the first two is 1.
template <class T>
struct Filters {
  const T* values;
  int64_t column, summed, weight;
  /// By half a turn, as the way back to the input has them.
  bool turned;

  Filters at(int64_t columns, int64_t channels) const { return {values + columns * column + channels * summed, column, summed, weight, turned}; }
  /// Half a turn of the weights lets the outer places change sides.
  int64_t place(int64_t place) const {
    constexpr int64_t turned_places[4] = {3, 1, 2, 0};
    return turned ? turned_places[place / 4] * 4 + turned_places[place % 4] : place;
  }
};

/// 32 x 32 filters → at each place [pair of summed channels][32 columns][2], the pairs as `by_parity` makes them of patches.
template <class T>
void transform_filters(const Filters<T>& filters, int64_t place_size, Half* to) {
  if (filters.column == 1) {
    for (int64_t pair = 0; pair < kGroup / 2; pair++) {
      const T* first = filters.at(0, pair < 8 ? 4 * pair : 4 * (pair - 8) + 1).values;
      for (int64_t half = 0; half < kGroup; half += 16) {
        __m512 one[kPlaces], other[kPlaces];
        weights_of(first + half, filters.weight, one);
        weights_of(first + half + 2 * filters.summed, filters.weight, other);
        for (int64_t place = 0; place < kPlaces; place++) _mm512_storeu_si512(to + filters.place(place) * place_size + pair * 2 * kGroup + 2 * half, alternating(one[place], other[place]));
      }
    }
    return;
  }
  alignas(64) Half rows[kPlaces][kGroup][kGroup];
  for (int64_t i = 0; i < kGroup; i++) {
    __m512 low[kPlaces], high[kPlaces];
    weights_of(filters.at(i, 0).values, filters.weight, low);
    weights_of(filters.at(i, 16).values, filters.weight, high);
    for (int place = 0; place < kPlaces; place++) _mm512_store_si512(rows[place][i], by_parity(narrowed(low[place], high[place])));
  }
  for (int64_t place = 0; place < kPlaces; place++)
    for (int64_t first = 0; first < kGroup; first += 16) {
      __m512i block[16];
      for (int i = 0; i < 16; i++) block[i] = _mm512_load_si512(rows[place][first + i]);
      transpose(block);
      for (int pair = 0; pair < 16; pair++) _mm512_storeu_si512(to + filters.place(place) * place_size + pair * 2 * kGroup + 2 * first, block[pair]);
    }
}

/// → [place][tile][channels], of each group of channels first the even ones.
void transform_patches(const Half* x, const Half* zeros, const Grid& grid, int64_t channels, int64_t first, int64_t count, Half* to) {
  for (int64_t t = 0; t < count; t++) {
    const Pixels<4> pixels(x, channels, grid, first + t, zeros);
    for (int64_t c = 0; c < channels; c += kGroup) {
      // A tile's lower rows are new to the cache, those above were the last tiles' lower ones.
      for (const int i : {9, 10, 13, 14}) __builtin_prefetch(pixels.at[i] + 2 * kAhead * channels + c);
      __m512 even[kPlaces], odd[kPlaces];
      patch_of<Parity::even>(pixels, c, even);
      patch_of<Parity::odd>(pixels, c, odd);
      for (int64_t place = 0; place < kPlaces; place++) _mm512_storeu_si512(to + (place * count + t) * channels + c, narrowed(even[place], odd[place]));
    }
  }
}

/// A group of channels of the output, from their sums [place][tile][32].
void write_outputs(const float* sums, const Grid& grid, int64_t channels, int64_t channel, int64_t first, int64_t count, const Tail& tail, Half* y) {
  for (int64_t t = 0; t < count; t++) {
    __m512 low[4], high[4];
    outputs_of(sums + t * kGroup, count * kGroup, low);
    outputs_of(sums + t * kGroup + 16, count * kGroup, high);
    const auto [picture, top, left] = grid.corner(first + t);
    for (int64_t i = 0; i < 4; i++) {
      const int64_t row = top + i / 2, column = left + i % 2;
      if (row >= grid.height || column >= grid.width) continue;
      const int64_t place = ((picture * grid.height + row) * grid.width + column) * channels + channel;
      if (tail.factor != nullptr) low[i] *= _mm512_loadu_ps(tail.factor + channel), high[i] *= _mm512_loadu_ps(tail.factor + channel + 16);
      if (tail.offset != nullptr) low[i] += _mm512_loadu_ps(tail.offset + channel), high[i] += _mm512_loadu_ps(tail.offset + channel + 16);
      if (tail.summand != nullptr) {
        low[i] += sixteen(tail.summand + place);
        high[i] += sixteen(tail.summand + place + 16);
      }
      // The second operand is what comes of a NaN.
      if (tail.relu) low[i] = _mm512_max_ps(_mm512_setzero_ps(), low[i]), high[i] = _mm512_max_ps(_mm512_setzero_ps(), high[i]);
      _mm512_storeu_si512(y + place, narrowed(low[i], high[i]));
    }
  }
}

/// Two tiles side by side at each place: `pairs` is [place][group][pair of tiles][16 even channels, 16 odd ones][2].
template <class Tile, class Transform>
void transform_pair(const Tile& one, const Tile& other, int64_t channels, int64_t place_size, int64_t group_size, Half* to, Transform transform) {
  for (int64_t c = 0; c < channels; c += kGroup, to += group_size) {
    __m512 first[kPlaces], second[kPlaces];
    transform.template operator()<Parity::even>(one, c, first);
    transform.template operator()<Parity::even>(other, c, second);
    for (int64_t place = 0; place < kPlaces; place++) _mm512_storeu_si512(to + place * place_size, alternating(first[place], second[place]));
    transform.template operator()<Parity::odd>(one, c, first);
    transform.template operator()<Parity::odd>(other, c, second);
    for (int64_t place = 0; place < kPlaces; place++) _mm512_storeu_si512(to + place * place_size + kGroup, alternating(first[place], second[place]));
  }
}

struct OfPatch {
  template <Parity kParity>
  CHAMELEON_INLINE void operator()(const Pixels<4>& pixels, int64_t channel, __m512 (&d)[kPlaces]) const { patch_of<kParity>(pixels, channel, d); }
};

struct OfGradient {
  template <Parity kParity>
  CHAMELEON_INLINE void operator()(const Pixels<2>& pixels, int64_t channel, __m512 (&d)[kPlaces]) const { gradient_of<kParity>(pixels, channel, d); }
};

/// sums[32 of out][in] (+)= gradients' pairs · patches' pairs at one place.
template <bool kAdds>
void multiply_pairs(const Half* gradients, const Half* patches, int64_t pairs, int64_t group_size, int64_t in, float* sums) {
  for (int64_t c = 0; c < in; c += kGroup)
    for (int64_t row = 0; row < kGroup; row += kGradientRows)
      multiply<kGradientRows, kAdds>(gradients + 2 * row, 2, 2 * kGroup, patches + c / kGroup * group_size, pairs, sums + row * in + c, in);
}

/// One filter's gradient from the sums [place][out][in], both axes by parity within groups.
void write_gradient(const float* sums, int64_t place_size, int64_t in, float* gradient) {
  for (int64_t c = 0; c < in; c += kGroup) {
    __m512 even[9], odd[9];
    weights_gradient_of(sums + c, place_size, even);
    weights_gradient_of(sums + c + 16, place_size, odd);
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0), high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for (int64_t i = 0; i < 9; i++) {
      _mm512_storeu_ps(gradient + i * in + c, _mm512_permutex2var_ps(even[i], low, odd[i]));
      _mm512_storeu_ps(gradient + i * in + c + 16, _mm512_permutex2var_ps(even[i], high, odd[i]));
    }
  }
}

}  // namespace

#pragma GCC pop_options

namespace {

/// → [place][group of columns][pair of summed channels][32 columns][2].
template <class T>
at::Tensor transform(const at::Tensor& given, bool backward) {
  // As core keeps filters, [out, 3, 3, in], or as TF.js makes them, [3, 3, in, out]; what lies otherwise is copied.
  const bool lies_well = (given.stride(0) == 1 || given.stride(1) == 1) && given.stride(2) == 3 * given.stride(3);
  const auto filter = lies_well ? given : given.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t columns = filter.size(backward ? 1 : 0) / kGroup, summed = filter.size(backward ? 0 : 1) / kGroup, place_size = filter.size(0) * filter.size(1);
  const Filters<T> filters{static_cast<const T*>(filter.data_ptr()), filter.stride(backward ? 1 : 0), filter.stride(backward ? 0 : 1), filter.stride(3), backward};
  const auto made = at::empty({kPlaces * place_size}, at::kBFloat16);
  auto* to = static_cast<Half*>(made.data_ptr());
  at::parallel_for(0, columns * summed, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) transform_filters(filters.at(i / summed * kGroup, i % summed * kGroup), place_size, to + i * kGroup * kGroup);
  });
  return made;
}

at::Tensor transform(const at::Tensor& filter, bool backward) {
  TORCH_CHECK(filter.scalar_type() == at::kFloat || filter.scalar_type() == at::kBFloat16, "a filter is in float32 or bfloat16, not ", filter.toString());
  return filter.scalar_type() == at::kFloat ? transform<float>(filter, backward) : transform<Half>(filter, backward);
}

at::Tensor zeros_of(int64_t channels) { return at::zeros({channels}, at::kBFloat16); }

}  // namespace

bool can_transform(int64_t in, int64_t out) {
  static const bool can = processor_can();
  return can && in > 0 && out > 0 && in % kGroup == 0 && out % kGroup == 0;
}

bool pays(const Shape& s) {
  const Grid grid(s);
  // Less than three quarters of the multiplications, for the rest takes its time too.
  return can_transform(s.in, s.out) && grid.rows * grid.columns * kPlaces * 4 < s.height * s.width * 9 * 3;
}

at::Tensor transformed(const at::Tensor& filter) { return transform(filter, false); }
at::Tensor transformed_backward(const at::Tensor& filter) { return transform(filter, true); }

void convolve(const Half* x, const at::Tensor& filter, const Shape& s, const Tail& tail, Half* y) {
  const Grid grid(s);
  const int64_t tiles = grid.tiles(), threads = at::get_num_threads(), groups = s.out / kGroup;
  const int64_t most = std::max(kRows, kBlockBytes / (kPlaces * (s.in * 2 + kGroup * 4)) / kRows * kRows);
  // Of so few tiles as one picture's each core takes some of the output's channels, lest each reads all filters.
  const bool few = tiles <= most && groups >= threads;
  const int64_t wanted = few ? 1 : rounded_up((tiles + most - 1) / most, threads), block = rounded_up((tiles + wanted - 1) / wanted, few ? 1 : kRows);
  const int64_t blocks = (tiles + block - 1) / block, parts = few ? threads : 1;
  const auto zeros = zeros_of(s.in);
  const auto patches = at::empty({threads, kPlaces * block * s.in}, at::kBFloat16), sums = at::empty({threads, kPlaces * block * kGroup}, at::kFloat);
  const auto* weights = static_cast<const Half*>(filter.data_ptr());
  at::parallel_for(0, blocks * parts, 1, [&](int64_t begin, int64_t end) {
    auto* v = static_cast<Half*>(patches.data_ptr()) + at::get_thread_num() * patches.size(1);
    auto* m = sums.data_ptr<float>() + at::get_thread_num() * sums.size(1);
    for (int64_t i = begin; i < end; i++) {
      const int64_t first = i / parts * block, part = i % parts, count = std::min(block, tiles - first);
      transform_patches(x, static_cast<const Half*>(zeros.data_ptr()), grid, s.in, first, count, v);
      for (int64_t k = groups * part / parts * kGroup; k < groups * (part + 1) / parts * kGroup; k += kGroup) {
        for (int64_t place = 0; place < kPlaces; place++)
          multiply_rows(count, v + place * count * s.in, s.in, weights + place * s.in * s.out + k * s.in, m + place * count * kGroup);
        write_outputs(m, grid, s.out, k, first, count, tail, y);
      }
    }
  });
}

void filter_gradient(const Half* x, const Half* dy, const Shape& s, float* gradient) {
  const Grid grid(s);
  const int64_t tiles = grid.tiles(), round = std::min(rounded_up(tiles, 2), rounded_up(kRoundBytes / (kPlaces * 2 * (s.in + s.out)), kChunk));
  const auto zeros = zeros_of(std::max(s.in, s.out));
  const auto* nothing = static_cast<const Half*>(zeros.data_ptr());
  const auto patches = at::empty({kPlaces * round * s.in}, at::kBFloat16), gradients = at::empty({kPlaces * round * s.out}, at::kBFloat16);
  auto *v = static_cast<Half*>(patches.data_ptr()), *g = static_cast<Half*>(gradients.data_ptr());
  const auto sums = at::empty({kPlaces * s.out * s.in}, at::kFloat);
  float* m = sums.data_ptr<float>();
  const int64_t group_size = round * kGroup, outs = s.out / kGroup;
  for (int64_t first = 0; first < tiles; first += round) {
    const int64_t count = std::min(round, tiles - first), pairs = (count + 1) / 2;
    at::parallel_for(0, pairs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; p++) {
        const int64_t one = first + 2 * p, other = one + 1;
        // The last tile of an odd number goes with one of zeros.
        const bool alone = other >= tiles;
        transform_pair(Pixels<4>(x, s.in, grid, one, nothing), Pixels<4>(x, s.in, grid, alone ? one : other, nothing), s.in, round * s.in, group_size, v + p * 2 * kGroup, OfPatch());
        const Pixels<2> gradients_of_other = alone ? Pixels<2>(nothing) : Pixels<2>(dy, s.out, grid, other, nothing);
        transform_pair(Pixels<2>(dy, s.out, grid, one, nothing), gradients_of_other, s.out, round * s.out, group_size, g + p * 2 * kGroup, OfGradient());
      }
    });
    at::parallel_for(0, kPlaces * outs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t place = i / outs, group = i % outs;
        for (int64_t p = 0; p < pairs; p += kChunk / 2) {
          const Half *left = g + place * round * s.out + group * group_size + p * 2 * kGroup, *right = v + place * round * s.in + p * 2 * kGroup;
          (first + p > 0 ? multiply_pairs<true> : multiply_pairs<false>)(left, right, std::min(kChunk / 2, pairs - p), group_size, s.in, m + (place * s.out + group * kGroup) * s.in);
        }
      }
    });
  }
  at::parallel_for(0, s.out, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++) {
      const int64_t within = k % kGroup, row = k - within + within / 2 + within % 2 * (kGroup / 2);
      write_gradient(m + row * s.in, s.out * s.in, s.in, gradient + k * 9 * s.in);
    }
  });
}

#else

bool can_transform(int64_t, int64_t) { return false; }
bool pays(const Shape&) { return false; }
at::Tensor transformed(const at::Tensor&) { TORCH_CHECK(false, "the addon was compiled without Winograd's convolutions"); }
at::Tensor transformed_backward(const at::Tensor& filter) { return transformed(filter); }
void convolve(const Half*, const at::Tensor& filter, const Shape&, const Tail&, Half*) { transformed(filter); }
void filter_gradient(const Half*, const Half*, const Shape&, float*) { transformed({}); }

#endif

}  // namespace chameleon::winograd
