import type { RandomStream } from '@chameleon/core';

/** As torchvision's `ColorJitter`: how far each factor may lie from 1 (for `hue`: from 0, at most 0.5). */
export interface ColorJitter {
  brightness: number;
  contrast: number;
  saturation: number;
  hue: number;
}

/** Changes interleaved RGB in place: the four changes in a drawn order, each with PIL's arithmetic. */
export function jitterColors(rgb: Uint8Array, { brightness, contrast, saturation, hue }: ColorJitter, random: RandomStream): void {
  const factor = (strength: number) => Math.max(0, 1 - strength) + (1 + strength - Math.max(0, 1 - strength)) * random.uniform();
  const changes = [
    { strength: brightness, apply: () => adjustBrightness(rgb, factor(brightness)) },
    { strength: contrast, apply: () => adjustContrast(rgb, factor(contrast)) },
    { strength: saturation, apply: () => adjustSaturation(rgb, factor(saturation)) },
    { strength: hue, apply: () => adjustHue(rgb, (2 * random.uniform() - 1) * hue) },
  ].filter(({ strength }) => strength > 0);
  while (changes.length > 0) changes.splice(random.integer(changes.length), 1)[0]!.apply();
}

/** Towards black (below 1) or away from it. */
export function adjustBrightness(rgb: Uint8Array, factor: number): void {
  for (let i = 0; i < rgb.length; i++) rgb[i] = blend(0, rgb[i]!, factor);
}

/** Towards the picture's mean grey (below 1) or away from it. */
export function adjustContrast(rgb: Uint8Array, factor: number): void {
  let sum = 0;
  for (let i = 0; i < rgb.length; i += 3) sum += grey(rgb, i);
  const mean = Math.trunc(sum / (rgb.length / 3) + 0.5);
  for (let i = 0; i < rgb.length; i++) rgb[i] = blend(mean, rgb[i]!, factor);
}

/** Towards each pixel's grey (below 1) or away from it. */
export function adjustSaturation(rgb: Uint8Array, factor: number): void {
  for (let i = 0; i < rgb.length; i += 3) {
    const level = grey(rgb, i);
    for (let c = i; c < i + 3; c++) rgb[c] = blend(level, rgb[c]!, factor);
  }
}

/** Turns the hue by `turn` (-0.5 … 0.5 of a full turn). */
export function adjustHue(rgb: Uint8Array, turn: number): void {
  const shift = Math.trunc(turn * 255);
  for (let i = 0; i < rgb.length; i += 3) {
    const [hue, saturation, value] = toHsv(rgb[i]!, rgb[i + 1]!, rgb[i + 2]!);
    const [red, green, blue] = fromHsv((hue + shift) & 255, saturation, value);
    rgb[i] = red;
    rgb[i + 1] = green;
    rgb[i + 2] = blue;
  }
}

/** PIL's `Image.blend` of two levels: in float32, cut to whole levels. */
function blend(from: number, to: number, factor: number): number {
  const level = Math.fround(from + Math.fround(Math.fround(factor) * (to - from)));
  return level <= 0 ? 0 : level >= 255 ? 255 : Math.trunc(level);
}

/** PIL's `convert('L')`: ITU-R 601-2, in 16-bit fixed point. */
function grey(rgb: Uint8Array, i: number): number {
  return (rgb[i]! * 19595 + rgb[i + 1]! * 38470 + rgb[i + 2]! * 7471 + 0x8000) >> 16;
}

/** PIL's rgb2hsv: hue, saturation and value, each 0 … 255. */
function toHsv(red: number, green: number, blue: number): [number, number, number] {
  const most = Math.max(red, green, blue);
  const range = most - Math.min(red, green, blue);
  if (range === 0) return [0, 0, most];
  const rc = Math.fround((most - red) / range);
  const gc = Math.fround((most - green) / range);
  const bc = Math.fround((most - blue) / range);
  const sixth = Math.fround(red === most ? bc - gc : green === most ? 2 + rc - bc : 4 + gc - rc);
  const hue = Math.fround((sixth / 6 + 1) % 1);
  return [Math.trunc(hue * 255), Math.trunc(Math.fround(range / most) * 255), most];
}

/** PIL's hsv2rgb. */
function fromHsv(hue: number, saturation: number, value: number): [number, number, number] {
  if (saturation === 0) return [value, value, value];
  const sextant = Math.floor((hue * 6) / 255);
  const f = Math.fround((hue * 6) / 255 - sextant);
  const s = Math.fround(saturation / 255);
  const p = Math.round(value * (1 - s));
  const q = Math.round(value * (1 - s * f));
  const t = Math.round(value * (1 - s * (1 - f)));
  const turns: [number, number, number][] = [[value, t, p], [q, value, p], [p, value, t], [p, q, value], [t, p, value], [value, p, q]];
  return turns[sextant % 6]!;
}
