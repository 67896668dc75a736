import type { RandomStream } from '@chameleon/core';

/** A value of 0 … 1 at each point of the plane; repeats after 32 units. */
export type Field = (x: number, y: number) => number;

const SIDE = 32;
const MASK = SIDE - 1;

/** Value noise: random values at whole coordinates, between them blended by a smooth step. */
export function valueNoise(random: RandomStream): Field {
  const lattice = Float32Array.from({ length: SIDE * SIDE }, () => random.uniform());
  return (x, y) => {
    const left = Math.floor(x);
    const top = Math.floor(y);
    const s = smooth(x - left);
    const upper = (top & MASK) * SIDE;
    const lower = ((top + 1) & MASK) * SIDE;
    const a = lattice[upper + (left & MASK)]!;
    const b = lattice[upper + ((left + 1) & MASK)]!;
    const c = lattice[lower + (left & MASK)]!;
    const d = lattice[lower + ((left + 1) & MASK)]!;
    const above = a + (b - a) * s;
    return above + (c + (d - c) * s - above) * smooth(y - top);
  };
}

/** Octaves of one noise laid over each other, each at twice the frequency and half the weight of the one before. */
export function layeredNoise(noise: Field, octaves: number): Field {
  const total = 2 - 2 ** (1 - octaves);
  return (x, y) => {
    let sum = 0;
    for (let octave = 0, frequency = 1, weight = 1; octave < octaves; octave++, frequency *= 2, weight /= 2) sum += weight * noise(x * frequency + octave * 5.3, y * frequency + octave * 9.7);
    return sum / total;
  };
}

/** The level that the field exceeds on about this share of the plane. */
export function levelOfShare(field: Field, share: number): number {
  const values = Float64Array.from({ length: 1024 }, (_, i) => field((i % SIDE) + 0.37 * (i / SIDE), Math.floor(i / SIDE) + 0.61 * (i % SIDE))).sort();
  return values[Math.min(1023, Math.floor((1 - share) * 1024))]!;
}

/** A number in [0, 1) that depends on the cell (whole coordinates) and the key alone. */
export function cellValue(x: number, y: number, key: number): number {
  let hash = Math.imul(x, 0x27d4eb2d) ^ Math.imul(y, 0x165667b1) ^ Math.imul(key, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/** 0 … 1 without a kink at either end. */
export function smooth(t: number): number {
  return t * t * (3 - 2 * t);
}
