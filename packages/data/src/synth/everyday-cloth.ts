import type { RandomStream } from '@chameleon/core';
import type { Cloth } from './camouflage.js';
import { between, chance, pick, pickWeighted } from './dice.js';
import { cellValue, valueNoise } from './noise.js';
import { type PaletteWeights, drawColors, mixColors, scaleColor } from './palettes.js';

/** The same palettes as camouflage's, the loud ones a little more often. */
export const EVERYDAY_COLORS: PaletteWeights = [
  ['woodland', 23], ['olive', 12], ['desert', 16], ['urban', 13], ['blue', 11], ['snow', 7], ['pink', 4], ['red', 5], ['orange', 3], ['violet', 3], ['lime', 3],
];

const PATTERNS: readonly (readonly [(random: RandomStream) => Cloth, number])[] = [[drawPlainCloth, 28], [stripes, 24], [checks, 24], [dots, 24]];

/** Plain, striped, checked or dotted. */
export function drawEverydayCloth(random: RandomStream): Cloth {
  return pickWeighted(random, PATTERNS)(random);
}

/** One colour with the unevenness of yarn. */
export function drawPlainCloth(random: RandomStream): Cloth {
  const [color] = drawColors(random, 1, EVERYDAY_COLORS);
  const strength = between(random, 0, 0.16);
  const tones = Array.from({ length: 16 }, (_, i) => scaleColor(color!, 1 + strength * (i / 15 - 0.5)));
  const noise = valueNoise(random);
  const fineness = between(random, 3, 14);
  return (u, v) => tones[Math.min(15, Math.floor(16 * noise(u * fineness, v * fineness)))]!;
}

/** Bands across, along or aslant, or in a zigzag; 2 to 4 colours in a repeated order of widths. */
function stripes(random: RandomStream): Cloth {
  const colors = drawColors(random, 2 + random.integer(3), EVERYDAY_COLORS);
  const bandAt = drawBands(random, colors.length, between(random, 0.1, 0.4));
  const angle = pickWeighted(random, [[0, 5], [Math.PI / 2, 3], [Math.PI / 4, 1], [-Math.PI / 4, 1]]);
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const zigzag = chance(random, 0.12) ? between(random, 0.3, 0.8) : 0;
  const period = between(random, 0.4, 0.9);
  return (u, v) => colors[bandAt(u * sin + v * cos + zigzag * Math.abs(modulo(u * cos - v * sin, period) - period / 2))]!;
}

/** Bands both ways, one seen through the other: from gingham to tartan. */
function checks(random: RandomStream): Cloth {
  const colors = drawColors(random, 2 + random.integer(3), EVERYDAY_COLORS);
  const width = between(random, 0.12, 0.4);
  const warp = drawBands(random, colors.length, width);
  const weft = chance(random, 0.6) ? warp : drawBands(random, colors.length, width);
  const slant = chance(random, 0.15) ? 1 : 0;
  const mixed = colors.map((a) => colors.map((b) => mixColors(a, b, 0.5)));
  return (u, v) => mixed[warp(u + slant * v)]![weft(v - slant * u)]!;
}

/** Round dots on a ground, in straight or staggered rows; some cloths have them in several colours, or a little out of line. */
function dots(random: RandomStream): Cloth {
  const [ground, ...inks] = drawColors(random, 2 + random.integer(3), EVERYDAY_COLORS);
  const spacing = between(random, 0.22, 0.5);
  const radius = between(random, 0.24, 0.38);
  const disorder = chance(random, 0.3) ? between(random, 0.1, 0.24) : 0;
  const stagger = pick(random, [0, 0.5]);
  const key = random.integer(2 ** 30);
  return (u, v) => {
    const row = Math.floor(v / spacing);
    const x = u / spacing + stagger * (row & 1);
    const column = Math.floor(x);
    const dx = x - column - 0.5 - disorder * (cellValue(column, row, key) - 0.5);
    const dy = v / spacing - row - 0.5 - disorder * (cellValue(column, row, key + 1) - 0.5);
    return dx * dx + dy * dy < radius * radius ? inks[Math.floor(cellValue(column, row, key + 2) * inks.length)]! : ground!;
  };
}

/** Bands about `width` heads wide, repeated for ever, each in one of `colorCount` colours: the colour's number at a position. */
function drawBands(random: RandomStream, colorCount: number, width: number): (position: number) => number {
  const ends: number[] = [];
  const count = colorCount === 2 ? 2 : colorCount + random.integer(3);
  for (let end = 0; ends.length < count; ) ends.push((end += width * between(random, 0.5, 1.5)));
  const period = ends.at(-1)!;
  return (position) => {
    const at = modulo(position, period);
    return Math.max(0, ends.findIndex((end) => at < end)) % colorCount;
  };
}

function modulo(a: number, b: number): number {
  return a - b * Math.floor(a / b);
}
