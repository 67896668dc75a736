import type { RandomStream } from '@chameleon/core';
import { type ColorJitter, jitterColors } from './color-jitter.js';
import { DEFAULT_CROP_BOUNDS, centerCropBox, randomResizedCropBox, resizedSize, roundHalfEven } from './crop.js';
import { type DecodeOptions, decodePicture } from './decode.js';
import { IMAGENET_NORMALIZATION, type Normalization, normalize } from './normalize.js';
import { type RgbImage, resizeBilinear } from './resize.js';

/** What happens to a training picture before normalisation, in this order: crop, flip, colours. */
export interface Augmentation {
  /** `random-resized`: torchvision's RandomResizedCrop; `center`: as for validation. */
  crop: 'random-resized' | 'center';
  /** RandomResizedCrop's bounds of the area, as a share of the picture's. */
  scale: readonly [number, number];
  /** Its bounds of width over height. */
  ratio: readonly [number, number];
  /** Mirrored left to right, in half the cases. */
  flip: boolean;
  colorJitter: ColorJitter | null;
}

/** The article's: RandomResizedCrop with torchvision's defaults, and a horizontal flip. */
export const DEFAULT_AUGMENTATION: Augmentation = { crop: 'random-resized', ...DEFAULT_CROP_BOUNDS, flip: true, colorJitter: null };

/** A training picture of `size` x `size` pixels, 8-bit RGB interleaved. The same random numbers give the same picture. */
export function trainingPicture(image: RgbImage, size: number, augmentation: Augmentation, random: RandomStream): Uint8Array {
  const { crop, flip, colorJitter } = augmentation;
  const rgb = crop === 'center' ? validationPicture(image, size) : resizeBilinear(image, randomResizedCropBox(image.width, image.height, random, augmentation), { width: size, height: size }).data;
  if (flip && random.uniform() < 0.5) flipRows(rgb, size);
  if (colorJitter) jitterColors(rgb, colorJitter, random);
  return rgb;
}

/**
 * A validation picture of `size` x `size` pixels, 8-bit RGB interleaved: torchvision's `Resize(shorterSide)`, then
 * `CenterCrop(size)`. By default 256 / 224 of the size, as ImageNet's figures are made; not less than the size.
 */
export function validationPicture(image: RgbImage, size: number, shorterSide = roundHalfEven((size * 256) / 224)): Uint8Array {
  const resized = resizedSize(image.width, image.height, shorterSide);
  const whole = { left: 0, top: 0, width: image.width, height: image.height };
  return resizeBilinear(image, whole, resized, centerCropBox(resized.width, resized.height, size)).data;
}

/** A picture as the model takes it, [size, size, 3], exactly as in validation: for serving and predicting. */
export async function preprocess(source: string | Uint8Array, imageSize: number, normalization: Normalization = IMAGENET_NORMALIZATION, options: DecodeOptions = {}): Promise<Float32Array> {
  const pixels = new Float32Array(imageSize * imageSize * 3);
  normalize(validationPicture(await decodePicture(source, options), imageSize), pixels, 0, normalization);
  return pixels;
}

/** Mirrors a square picture left to right, in place. */
function flipRows(rgb: Uint8Array, size: number): void {
  for (let row = 0; row < rgb.length; row += size * 3) {
    for (let left = row, right = row + (size - 1) * 3; left < right; left += 3, right -= 3) {
      for (let c = 0; c < 3; c++) [rgb[left + c], rgb[right + c]] = [rgb[right + c]!, rgb[left + c]!];
    }
  }
}
