/** What a channel's mean and deviation become: 0 and 1. In units of the channel, whose range is 0 … 1. */
export interface Normalization {
  mean: [number, number, number];
  std: [number, number, number];
}

/** ImageNet's, as torchvision's pretrained weights want them. */
export const IMAGENET_NORMALIZATION: Normalization = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/**
 * Writes (x / 255 - mean) / std of interleaved 8-bit RGB to `into` from `offset` on: bit for bit what torchvision's
 * ToTensor and Normalize compute in float32.
 */
export function normalize(rgb: Uint8Array, into: Float32Array, offset: number, normalization: Normalization = IMAGENET_NORMALIZATION): void {
  const [red, green, blue] = levelsOf(normalization);
  for (let i = 0, o = offset; i < rgb.length; i += 3, o += 3) {
    into[o] = red[rgb[i]!]!;
    into[o + 1] = green[rgb[i + 1]!]!;
    into[o + 2] = blue[rgb[i + 2]!]!;
  }
}

const tables = new WeakMap<Normalization, [Float32Array, Float32Array, Float32Array]>();

/** The 256 values of each channel. */
function levelsOf(normalization: Normalization): [Float32Array, Float32Array, Float32Array] {
  const known = tables.get(normalization);
  if (known) return known;
  const channel = (c: 0 | 1 | 2) => {
    const mean = Math.fround(normalization.mean[c]);
    const std = Math.fround(normalization.std[c]);
    return Float32Array.from({ length: 256 }, (_, x) => Math.fround(Math.fround(Math.fround(x / 255) - mean) / std));
  };
  const table: [Float32Array, Float32Array, Float32Array] = [channel(0), channel(1), channel(2)];
  tables.set(normalization, table);
  return table;
}
