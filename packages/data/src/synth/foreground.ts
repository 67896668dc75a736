import type { RandomStream } from '@chameleon/core';
import { type Canvas, paintShape, solid } from './canvas.js';
import { between, chance, pick, pickWeighted } from './dice.js';
import { drawAnyColor, scaleColor, varied } from './palettes.js';
import { ellipse, limb, rectangle } from './shapes.js';

const THINGS: readonly (readonly [(canvas: Canvas, random: RandomStream) => void, number])[] = [[branch, 4], [pole, 2], [tallGrass, 4], [fence, 1], [ledge, 1]];

/** Now and then something stands before the people: a branch, a pole, grass, a fence, a ledge. */
export function paintForeground(canvas: Canvas, random: RandomStream): void {
  if (chance(random, 0.25)) pickWeighted(random, THINGS)(canvas, random);
}

function branch(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const side = pick(random, [-0.05, 1.05]);
  const from = { x: side * size, y: between(random, 0.05, 0.9) * size };
  const to = { x: between(random, 0.3, 0.7) * size, y: from.y + between(random, -0.25, 0.25) * size };
  paintShape(canvas, limb(from, to, 0.016 * size, 0.005 * size), solid(varied(random, '#46362a', 12)));
  const leaf = varied(random, pick(random, ['#4b6b2c', '#6d8040', '#8f6a2c', '#2f4a26']), 14);
  for (let count = 6 + random.integer(16); count > 0; count--) {
    const t = random.uniform();
    const center = { x: from.x + (to.x - from.x) * t + 0.04 * size * random.normal(), y: from.y + (to.y - from.y) * t + 0.04 * size * random.normal() };
    paintShape(canvas, ellipse(center, between(random, 0.014, 0.034) * size, between(random, 0.007, 0.015) * size, between(random, 0, Math.PI)), solid(scaleColor(leaf, between(random, 0.7, 1.3))));
  }
}

function pole(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const x = between(random, 0.05, 0.95) * size;
  const radius = between(random, 0.012, 0.035) * size;
  const color = varied(random, pick(random, ['#6b6e70', '#4a3a2b', '#b9bcbc', '#8a3b30']), 12);
  paintShape(canvas, limb({ x, y: -0.1 * size }, { x: x + 0.02 * size * random.normal(), y: 1.1 * size }, radius, radius), solid(color, { shadeAt: (_x, _y, distance) => 0.7 + (0.4 * -distance) / radius }));
}

function tallGrass(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const color = varied(random, pick(random, ['#5f7d33', '#8d8a4a', '#3f5a28', '#a89560']), 16);
  const height = between(random, 0.1, 0.3);
  for (let count = 25 + random.integer(35); count > 0; count--) {
    const x = random.uniform() * size;
    const tip = { x: x + 0.05 * size * random.normal(), y: (1 - height * between(random, 0.4, 1)) * size };
    paintShape(canvas, limb({ x, y: 1.05 * size }, tip, 0.009 * size, 0.002 * size), solid(scaleColor(color, between(random, 0.65, 1.3))));
  }
}

function fence(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const color = drawAnyColor(random);
  const top = between(random, 0.6, 0.8) * size;
  const step = between(random, 0.09, 0.16) * size;
  for (let x = between(random, -0.1, 0) * size; x < size; x += step) paintShape(canvas, rectangle(x, top, x + 0.25 * step, size), solid(color));
  for (const y of [top + 0.03 * size, top + 0.15 * size]) paintShape(canvas, rectangle(0, y, size, y + 0.025 * size), solid(scaleColor(color, 0.85)));
}

function ledge(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const top = between(random, 0.76, 0.9) * size;
  const color = drawAnyColor(random);
  paintShape(canvas, rectangle(0, top, size, size), solid(color, { shadeAt: (_x, y) => (y - top < 0.02 * size ? 1.15 : 0.9) }));
}
