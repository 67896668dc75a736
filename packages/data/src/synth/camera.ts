import type { RandomStream } from '@chameleon/core';
import { type RgbImage, resizeBilinear } from '../resize.js';
import { type Canvas, blur } from './canvas.js';
import { between, chance } from './dice.js';

/**
 * What light and a camera do to the scene: brighter on one side, a tint, darker corners, a little out of focus, grain.
 * The scene is drawn larger than the photograph of `size` px and made smaller here, which smooths all edges.
 */
export function photograph(canvas: Canvas, size: number, random: RandomStream): RgbImage {
  if (chance(random, 0.5)) blur(canvas, (between(random, 0.2, 1.1) * canvas.size) / size);
  const lit = light(canvas, random);
  const whole = { left: 0, top: 0, width: canvas.size, height: canvas.size };
  const image = resizeBilinear({ data: lit, width: canvas.size, height: canvas.size }, whole, { width: size, height: size });
  addGrain(image.data, between(random, 1, 7), random);
  return image;
}

function light({ size, levels }: Canvas, random: RandomStream): Uint8Array {
  const exposure = between(random, 0.78, 1.15);
  const gradientX = between(random, -0.25, 0.25);
  const gradientY = between(random, -0.25, 0.15);
  const corners = between(random, 0, 0.3);
  const contrast = between(random, 0.8, 1.12);
  const tint = [1, 2, 3].map(() => between(random, 0.95, 1.05));
  const data = new Uint8Array(levels.length);
  for (let row = 0, i = 0; row < size; row++) {
    const y = row / size - 0.5;
    for (let column = 0; column < size; column++) {
      const x = column / size - 0.5;
      const gain = exposure * (1 + gradientX * x + gradientY * y - corners * (x * x + y * y));
      for (let channel = 0; channel < 3; channel++, i++) {
        const level = 128 + contrast * (levels[i]! * gain * tint[channel]! - 128);
        data[i] = level < 0 ? 0 : level > 255 ? 255 : level + 0.5;
      }
    }
  }
  return data;
}

/** Adds noise of about this deviation (levels), the same for the three colours of a pixel. */
function addGrain(data: Uint8Array, deviation: number, random: RandomStream): void {
  let state = 1 + random.integer(2 ** 31 - 2);
  const step = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    return (state ^= state << 5);
  };
  for (let i = 0; i < data.length; i += 3) {
    // The sum of four uniform bytes is near enough to a normal number: mean 510, deviation 147.8.
    const bits = step();
    const sum = (bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24);
    const grain = ((sum - 510) / 147.8) * deviation;
    for (let channel = i; channel < i + 3; channel++) data[channel] = Math.max(0, Math.min(255, Math.round(data[channel]! + grain)));
  }
}
