import type { RandomStream } from '@chameleon/core';
import type { Box } from './resize.js';

/** Bounds of RandomResizedCrop: the crop's share of the area, and its width over its height. */
export interface CropBounds {
  scale: readonly [number, number];
  ratio: readonly [number, number];
}

export const DEFAULT_CROP_BOUNDS: CropBounds = { scale: [0.08, 1], ratio: [3 / 4, 4 / 3] };

/**
 * The box that torchvision's `RandomResizedCrop.get_params` takes when it draws these numbers: ten tries of an area
 * and an aspect ratio (uniform in its logarithm); then the largest box in the middle whose ratio is allowed.
 */
export function randomResizedCropBox(width: number, height: number, random: RandomStream, { scale, ratio }: CropBounds = DEFAULT_CROP_BOUNDS): Box {
  const between = (low: number, high: number) => low + (high - low) * random.uniform();
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * between(...scale);
    const aspect = Math.exp(between(Math.log(ratio[0]), Math.log(ratio[1])));
    const w = roundHalfEven(Math.sqrt(area * aspect));
    const h = roundHalfEven(Math.sqrt(area / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const top = random.integer(height - h + 1);
      return { top, left: random.integer(width - w + 1), width: w, height: h };
    }
  }
  const shape = width / height;
  const w = shape > ratio[1] ? roundHalfEven(height * ratio[1]) : width;
  const h = shape < ratio[0] ? roundHalfEven(width / ratio[0]) : height;
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

/** The size after torchvision's `Resize(shorter)`: the longer side is cut to whole pixels. */
export function resizedSize(width: number, height: number, shorter: number): { width: number; height: number } {
  return width <= height ? { width: shorter, height: Math.trunc((shorter * height) / width) } : { width: Math.trunc((shorter * width) / height), height: shorter };
}

/** The box of torchvision's `CenterCrop(size)` in a picture at least as large. */
export function centerCropBox(width: number, height: number, size: number): Box {
  return { left: roundHalfEven((width - size) / 2), top: roundHalfEven((height - size) / 2), width: size, height: size };
}

/** Python's `round`: halves go to the even neighbour. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
