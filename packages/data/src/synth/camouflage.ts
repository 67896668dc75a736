import type { RandomStream } from '@chameleon/core';
import { between, pickWeighted } from './dice.js';
import { type Field, cellValue, layeredNoise, levelOfShare, valueNoise } from './noise.js';
import { type Color, type PaletteWeights, drawColors } from './palettes.js';

/** A cloth's colour at a point of it: `u` across the part of the body, `v` along it, in heights of the wearer's head. */
export type Cloth = (u: number, v: number) => Color;

/** Mostly what armies wear, now and then what only fashion does. */
export const CAMOUFLAGE_COLORS: PaletteWeights = [
  ['woodland', 27], ['olive', 13], ['desert', 18], ['urban', 13], ['blue', 8], ['snow', 5], ['pink', 4], ['red', 3], ['orange', 3], ['violet', 3], ['lime', 3],
];

const FAMILIES: readonly (readonly [(random: RandomStream, colors: readonly Color[]) => Cloth, number])[] = [
  [blotches, 38], [digital, 24], [brushStrokes, 16], [flecks, 12], [splinters, 10],
];

/** Woodland's blotches, pixels, tiger stripes, flecks or splinters in 3 to 5 colours of one palette. */
export function drawCamouflage(random: RandomStream): Cloth {
  const draw = pickWeighted(random, FAMILIES);
  return draw(random, drawColors(random, 3 + random.integer(3), CAMOUFLAGE_COLORS));
}

/** Blobs with ragged edges, each colour's laid over the ones before. */
function blotches(random: RandomStream, colors: readonly Color[]): Cloth {
  const size = between(random, 0.32, 0.85);
  return overlay(random, colors, { across: size * between(random, 1, 1.6), along: size, raggedness: between(random, 0.15, 0.6) });
}

/** Irregular strokes across the body, as in tiger stripes and the desert's waves. */
function brushStrokes(random: RandomStream, colors: readonly Color[]): Cloth {
  const size = between(random, 0.2, 0.4);
  return overlay(random, colors, { across: size * between(random, 2.4, 4), along: size, raggedness: between(random, 0.2, 0.5) });
}

/** Small spots that gather into clouds. */
function flecks(random: RandomStream, colors: readonly Color[]): Cloth {
  const size = between(random, 0.16, 0.26);
  return overlay(random, colors, { across: size, along: size, raggedness: 0.2 });
}

/** Blobs rounded to squares, whose edges are frayed by single squares. */
function digital(random: RandomStream, colors: readonly Color[]): Cloth {
  const square = between(random, 0.09, 0.17);
  const size = between(random, 0.35, 0.75);
  const cloth = overlay(random, colors, { across: size * between(random, 1, 1.7), along: size, raggedness: 0 });
  const key = random.integer(2 ** 30);
  return (u, v) => {
    const column = Math.floor(u / square);
    const row = Math.floor(v / square);
    const fray = 0.9 * square;
    return cloth(column * square + fray * (cellValue(column, row, key) - 0.5), row * square + fray * (cellValue(column, row, key + 1) - 0.5));
  };
}

/** Straight-edged pieces: the cells of scattered points (Worley, 1996), stretched along a slanted axis. */
function splinters(random: RandomStream, colors: readonly Color[]): Cloth {
  const size = between(random, 0.3, 0.6);
  const slant = between(random, -1.2, 1.2);
  const cos = Math.cos(slant) / size;
  const sin = Math.sin(slant) / size;
  const stretch = between(random, 0.4, 0.8);
  const key = random.integer(2 ** 30);
  return (u, v) => {
    const x = u * cos + v * sin;
    const y = (v * cos - u * sin) * stretch;
    let nearest = Infinity;
    let choice = 0;
    for (let row = Math.floor(y) - 1, lastRow = row + 2; row <= lastRow; row++) {
      for (let column = Math.floor(x) - 1, lastColumn = column + 2; column <= lastColumn; column++) {
        const dx = column + cellValue(column, row, key) - x;
        const dy = row + cellValue(column, row, key + 1) - y;
        const distance = Math.abs(dx) + Math.abs(dy);
        if (distance < nearest) [nearest, choice] = [distance, cellValue(column, row, key + 2)];
      }
    }
    return colors[Math.floor(choice * colors.length)]!;
  };
}

interface Blobs {
  /** The size of a blob in heads. */
  across: number;
  along: number;
  /** 0 round … 1 torn. */
  raggedness: number;
}

/** The first colour everywhere; each further one where a noise of its own is high, over what is there. */
function overlay(random: RandomStream, colors: readonly Color[], { across, along, raggedness }: Blobs): Cloth {
  const layers = colors.slice(1).map((color, i) => {
    const noise = valueNoise(random);
    const field = tornNoise(noise, raggedness);
    return { color, field, level: levelOfShare(field, between(random, 0.26, 0.44) / (1 + 0.12 * i)) };
  }).reverse();
  return (u, v) => {
    for (const { color, field, level } of layers) if (field(u / across, v / along) > level) return color;
    return colors[0]!;
  };
}

/** Noise with detail, looked up at places that another octave of it has pushed around. */
function tornNoise(noise: Field, raggedness: number): Field {
  const detailed = layeredNoise(noise, 2);
  return (x, y) => detailed(x + raggedness * (noise(x * 3.1 + 11, y * 3.1) - 0.5), y + raggedness * (noise(x * 3.1, y * 3.1 + 17) - 0.5));
}
