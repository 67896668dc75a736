import type { Color } from './palettes.js';
import type { Shape } from './shapes.js';

/** Levels of 0 … 255, interleaved RGB, not yet rounded; square. */
export interface Canvas {
  readonly size: number;
  readonly levels: Float32Array;
}

export function createCanvas(size: number): Canvas {
  return { size, levels: new Float32Array(size * size * 3) };
}

/** Colours every pixel by its centre's coordinates, both 0 … 1. */
export function paintAll({ size, levels }: Canvas, colorAt: (x: number, y: number) => Color): void {
  for (let row = 0, i = 0; row < size; row++) {
    for (let column = 0; column < size; column++, i += 3) {
      const color = colorAt((column + 0.5) / size, (row + 0.5) / size);
      levels[i] = color[0];
      levels[i + 1] = color[1];
      levels[i + 2] = color[2];
    }
  }
}

/** How a shape is filled. Coordinates and distances in px. */
export interface Paint {
  readonly colorAt: (x: number, y: number) => Color;
  /** A factor of brightness; `distance` is the shape's (negative inside). */
  readonly shadeAt?: (x: number, y: number, distance: number) => number;
  /** 0 … 1, by default 1. */
  readonly opacity?: number;
  /** px over which the edge fades; by default 1. */
  readonly softness?: number;
}

/** Lays a shape over the canvas. */
export function paintShape({ size, levels }: Canvas, shape: Shape, { colorAt, shadeAt, opacity = 1, softness = 1 }: Paint): void {
  const margin = softness / 2;
  const right = Math.min(size, Math.ceil(shape.right + margin));
  const bottom = Math.min(size, Math.ceil(shape.bottom + margin));
  for (let row = Math.max(0, Math.floor(shape.top - margin)); row < bottom; row++) {
    for (let column = Math.max(0, Math.floor(shape.left - margin)); column < right; column++) {
      const x = column + 0.5;
      const y = row + 0.5;
      const distance = shape.distance(x, y);
      if (distance >= margin) continue;
      const cover = opacity * Math.min(1, 0.5 - distance / softness);
      const color = colorAt(x, y);
      const shade = shadeAt ? shadeAt(x, y, distance) : 1;
      const i = (row * size + column) * 3;
      levels[i]! += (color[0] * shade - levels[i]!) * cover;
      levels[i + 1]! += (color[1] * shade - levels[i + 1]!) * cover;
      levels[i + 2]! += (color[2] * shade - levels[i + 2]!) * cover;
    }
  }
}

/** A paint of one colour. */
export function solid(color: Color, paint: Omit<Paint, 'colorAt'> = {}): Paint {
  return { ...paint, colorAt: () => color };
}

/** Averages over a box of `radius` px each way (it may be a fraction), along rows and then columns; edges are repeated. */
export function blur({ size, levels }: Canvas, radius: number): void {
  if (radius <= 0) return;
  const line = new Float32Array(size);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < size; i++) {
      blurLine(levels, i * size * 3 + channel, 3, line, radius);
    }
    for (let i = 0; i < size; i++) blurLine(levels, i * 3 + channel, size * 3, line, radius);
  }
}

/** A running sum over whole pixels, and the two at the ends by the fraction. */
function blurLine(levels: Float32Array, start: number, stride: number, line: Float32Array, radius: number): void {
  const count = line.length;
  for (let i = 0, at = start; i < count; i++, at += stride) line[i] = levels[at]!;
  const whole = Math.floor(radius);
  const part = radius - whole;
  const value = (i: number) => line[i < 0 ? 0 : i >= count ? count - 1 : i]!;
  let sum = 0;
  for (let i = -whole; i <= whole; i++) sum += value(i);
  for (let i = 0, at = start; i < count; i++, at += stride) {
    levels[at] = (sum + part * (value(i - whole - 1) + value(i + whole + 1))) / (2 * radius + 1);
    sum += value(i + whole + 1) - value(i - whole);
  }
}
