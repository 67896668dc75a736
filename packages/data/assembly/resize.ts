/**
 * The two passes of `resizeBilinear` in WebAssembly's 128-bit registers; `node assembly/compile.mjs` compiles
 * them into `src/generated`. Pictures are 8-bit RGB, interleaved; weights have 22 bits of fraction and add up to 1, so that sums
 * fit 32 bits and need no clipping. The caller lays out the memory, with 16 bytes to spare behind each input and output.
 */

const FRACTION_BITS: i32 = 22;
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/** Where the caller's memory begins. */
export function base(): usize {
  return __heap_base;
}

/** `rows` rows of `stride` bytes become rows of `width` pixels: output x is the sum of `taps` pixels from `starts[x]` on. */
export function resizeRows(input: usize, stride: usize, rows: i32, starts: usize, weights: usize, taps: i32, width: i32, output: usize): void {
  const half = i32x4.splat(HALF);
  for (let y = 0; y < rows; y++) {
    let weight = weights;
    for (let x = 0; x < width; x++) {
      let pixel = input + 3 * <usize>load<i32>(starts + ((<usize>x) << 2));
      let sum = half;
      for (let k = 0; k < taps; k++) {
        const levels = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(pixel)));
        sum = i32x4.add(sum, i32x4.mul(levels, v128.load32_splat(weight)));
        pixel += 3;
        weight += 4;
      }
      const level = i32x4.shr_s(sum, FRACTION_BITS);
      const words = i16x8.narrow_i32x4_u(level, level);
      // The fourth byte is overwritten by the next pixel.
      v128.store32_lane(output, i8x16.narrow_i16x8_u(words, words), 0);
      output += 3;
    }
    input += stride;
  }
}

/** Row y of `height` is the sum of `taps` rows of `stride` bytes from row `starts[y] - firstRow` on. */
export function resizeColumns(input: usize, stride: usize, firstRow: i32, starts: usize, weights: usize, taps: i32, height: i32, output: usize): void {
  const half = i32x4.splat(HALF);
  for (let y = 0; y < height; y++) {
    const first = input + <usize>(load<i32>(starts + ((<usize>y) << 2)) - firstRow) * stride;
    for (let x: usize = 0; x < stride; x += 16) {
      let a = half, b = half, c = half, d = half;
      let from = first + x;
      for (let k = 0; k < taps; k++) {
        const weight = v128.load32_splat(weights + ((<usize>k) << 2));
        const levels = v128.load(from);
        const low = i16x8.extend_low_i8x16_u(levels), high = i16x8.extend_high_i8x16_u(levels);
        a = i32x4.add(a, i32x4.mul(i32x4.extend_low_i16x8_u(low), weight));
        b = i32x4.add(b, i32x4.mul(i32x4.extend_high_i16x8_u(low), weight));
        c = i32x4.add(c, i32x4.mul(i32x4.extend_low_i16x8_u(high), weight));
        d = i32x4.add(d, i32x4.mul(i32x4.extend_high_i16x8_u(high), weight));
        from += stride;
      }
      const low = i16x8.narrow_i32x4_u(i32x4.shr_s(a, FRACTION_BITS), i32x4.shr_s(b, FRACTION_BITS));
      const high = i16x8.narrow_i32x4_u(i32x4.shr_s(c, FRACTION_BITS), i32x4.shr_s(d, FRACTION_BITS));
      // Past the row's end lies the next one, which is written later.
      v128.store(output + x, i8x16.narrow_i16x8_u(low, high));
    }
    output += stride;
    weights += (<usize>taps) << 2;
  }
}
