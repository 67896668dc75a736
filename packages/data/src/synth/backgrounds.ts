import type { RandomStream } from '@chameleon/core';
import { type Canvas, blur, paintAll, paintShape, solid } from './canvas.js';
import { between, chance, pick, pickWeighted } from './dice.js';
import { cellValue, layeredNoise, valueNoise } from './noise.js';
import { type Color, colorRamp, drawAnyColor, mixColors, scaleColor, varied } from './palettes.js';
import { ellipse, limb, polygon, rectangle } from './shapes.js';

type PaintBackground = (canvas: Canvas, random: RandomStream) => void;

const BACKGROUNDS: readonly (readonly [PaintBackground, number])[] = [
  [forest, 15], [desert, 11], [meadow, 12], [fields, 12], [city, 15], [wall, 13], [room, 13], [texture, 9],
];

/** Fills the canvas with one of eight kinds of places; more than half of them are out of focus. */
export function paintBackground(canvas: Canvas, random: RandomStream): void {
  pickWeighted(random, BACKGROUNDS)(canvas, random);
  if (chance(random, 0.6)) blur(canvas, between(random, 0, 0.016) * canvas.size);
}

/** Leaves in light and shade, trunks, and a floor of litter. */
function forest(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const leaves = layeredNoise(valueNoise(random), 4);
  const foliage = colorRamp(varied(random, '#141c10', 8), varied(random, '#33472a', 14), varied(random, '#66803f', 22), varied(random, pick(random, ['#b9c98a', '#dbe4d8', '#c79a4b']), 16));
  const litter = colorRamp(varied(random, '#2c2417', 10), varied(random, pick(random, ['#5f4e33', '#4d5a30']), 14), varied(random, pick(random, ['#93805a', '#7c9148']), 16));
  const horizon = between(random, 0.58, 0.85);
  const scale = between(random, 5, 11);
  paintAll(canvas, (x, y) => {
    const detail = leaves(x * scale, y * scale);
    return y < horizon + 0.05 * (leaves(x * 4, 3) - 0.5) ? foliage(1.9 * (detail - 0.5) + 0.62 - 0.35 * y) : litter(1.6 * (leaves(x * scale, y * scale * 2.5) - 0.5) + 0.5);
  });
  const bark = varied(random, pick(random, ['#3c3024', '#55483a', '#2b2620', '#8a8576']), 12);
  for (let count = 2 + random.integer(7); count > 0; count--) {
    const x = between(random, -0.05, 1.05) * size;
    const foot = between(random, horizon, Math.min(1.05, horizon + 0.2)) * size;
    const width = between(random, 0.008, 0.045) * size;
    const shade = between(random, 0.7, 1.3);
    paintShape(canvas, limb({ x: x + between(random, -0.05, 0.05) * size, y: -0.1 * size }, { x, y: foot }, width * 0.7, width), {
      colorAt: (px, py) => scaleColor(bark, shade * (0.6 + 0.8 * leaves((px / size) * 30, (py / size) * 7))),
    });
  }
}

/** Dunes under a pale sky, with ripples and a few stones. */
function desert(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const noise = layeredNoise(valueNoise(random), 3);
  const horizon = between(random, 0.15, 0.5);
  paintSky(canvas, random, horizon);
  const sand = varied(random, pick(random, ['#cfae7c', '#b98f5e', '#d8c39c', '#b07a52']), 14);
  for (let ridge = horizon, i = 0; ridge < 1; ridge += between(random, 0.12, 0.3), i++) {
    const ramp = colorRamp(scaleColor(sand, 0.62 + 0.05 * i), scaleColor(sand, 0.95), scaleColor(sand, 1.15));
    const slope = between(random, -0.12, 0.12);
    const row = i * 7;
    const ripples = between(random, 20, 60);
    const shape = (x: number, y: number) => ridge + slope * (x / size - 0.5) + 0.16 * (noise((x / size) * 2 + row, row) - 0.5) - y / size;
    const level = (x: number, y: number) => 0.45 + 0.7 * (noise(x * 4 + row, y * 14) - 0.5) + 0.09 * Math.sin(ripples * (y * 3 + 0.6 * noise(x * 3, y * 3 + row)));
    paintShape(canvas, { distance: (x, y) => shape(x, y) * size, left: 0, right: size, top: 0, bottom: size }, { colorAt: (x, y) => ramp(level(x / size, y / size)) });
  }
  for (let count = random.integer(9); count > 0; count--) paintStone(canvas, random, horizon);
}

/** Grass up close, perhaps with flowers, perhaps with trees behind. */
function meadow(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const noise = layeredNoise(valueNoise(random), 3);
  const horizon = between(random, -0.1, 0.45);
  const grass = colorRamp(varied(random, '#2f4218', 12), varied(random, pick(random, ['#5f7d33', '#7a8a3f', '#a39a5a']), 18), varied(random, pick(random, ['#a9bf62', '#c9c583']), 16));
  const trees = colorRamp(varied(random, '#1d2a18', 8), varied(random, '#3f5a34', 14), varied(random, '#7d9560', 14));
  paintSky(canvas, random, horizon - 0.12);
  paintShape(canvas, { distance: (x, y) => (horizon - 0.12 - 0.14 * (noise((x / size) * 9, 1) - 0.5) - y / size) * size, left: 0, right: size, top: 0, bottom: size }, { colorAt: (x, y) => trees(1.7 * (noise((x / size) * 14, (y / size) * 14) - 0.5) + 0.45) });
  const blades = between(random, 14, 34);
  paintShape(canvas, rectangle(0, horizon * size, size, size), {
    colorAt: (x, y) => {
      const depth = 0.35 + y / size - horizon;
      return grass(1.5 * (noise(((x / size) * blades) / depth, ((y / size) * blades * 0.35) / depth) - 0.5) + 0.5);
    },
  });
  const flower = drawAnyColor(random);
  if (chance(random, 0.4)) for (let count = 20 + random.integer(60); count > 0; count--) paintShape(canvas, ellipse({ x: random.uniform() * size, y: between(random, horizon, 1) * size }, 0.008 * size, 0.007 * size), solid(flower));
}

/** A wide sky over hills and strips of fields. */
function fields(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const noise = layeredNoise(valueNoise(random), 3);
  let edge = between(random, 0.35, 0.7);
  paintSky(canvas, random, edge);
  for (let i = 0; edge < 1; edge += between(random, 0.06, 0.2), i++) {
    const color = varied(random, pick(random, ['#8a9a4f', '#5d7a3a', '#c2a85c', '#7d6a48', '#a8b36a', '#4c6348']), 16);
    const ramp = colorRamp(scaleColor(color, 0.8), scaleColor(color, 1.15));
    const base = edge;
    const slope = between(random, -0.08, 0.08);
    const furrows = chance(random, 0.4) ? between(random, 25, 70) : 0;
    paintShape(canvas, { distance: (x, y) => (base + slope * (x / size - 0.5) + 0.08 * (noise((x / size) * 2 + i * 5, i) - 0.5) - y / size) * size, left: 0, right: size, top: 0, bottom: size }, {
      colorAt: (x, y) => ramp(0.5 + (noise((x / size) * 12, (y / size) * 20 + i) - 0.5) + (furrows ? 0.25 * Math.sin((furrows * (x / size - 0.5)) / (0.2 + y / size - base)) : 0)),
    });
  }
}

/** Blocks with rows of windows, and a street. */
function city(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const noise = layeredNoise(valueNoise(random), 3);
  const street = between(random, 0.68, 0.92);
  paintSky(canvas, random, street);
  for (let left = between(random, -0.2, 0); left < 1; ) {
    const width = between(random, 0.16, 0.5);
    paintBuilding(canvas, random, { left: left * size, top: between(random, -0.3, 0.3) * size, right: (left + width) * size, bottom: street * size });
    left += width + (chance(random, 0.3) ? between(random, 0, 0.1) : 0);
  }
  const asphalt = varied(random, pick(random, ['#5b5b5d', '#86837d', '#a39c90']), 14);
  const ramp = colorRamp(scaleColor(asphalt, 0.75), scaleColor(asphalt, 1.2));
  paintShape(canvas, rectangle(0, street * size, size, size), { colorAt: (x, y) => ramp(noise((x / size) * 16, (y / size) * 30)) });
  const curb = street + 0.05;
  paintShape(canvas, rectangle(0, curb * size, size, (curb + 0.02) * size), solid(scaleColor(asphalt, 1.35)));
}

function paintBuilding(canvas: Canvas, random: RandomStream, { left, top, right, bottom }: { left: number; top: number; right: number; bottom: number }): void {
  const { size } = canvas;
  const facade = varied(random, pick(random, ['#b9a58c', '#8f5f4b', '#a9adb0', '#d6cfc0', '#6e757c', '#c79f7a', '#7f8a7a']), 18);
  const glass = varied(random, pick(random, ['#34404d', '#6c8496', '#20262c', '#b9c7cf']), 14);
  const stepX = between(random, 0.05, 0.11) * size;
  const stepY = between(random, 0.06, 0.13) * size;
  const [openX, openY] = [between(random, 0.4, 0.85), between(random, 0.4, 0.8)];
  const key = random.integer(2 ** 30);
  paintShape(canvas, rectangle(left, top, right, bottom), {
    colorAt: (x, y) => {
      const column = Math.floor((x - left) / stepX);
      const row = Math.floor((y - top) / stepY);
      const inPane = (x - left) / stepX - column < openX && (y - top) / stepY - row < openY && (column + 1) * stepX < right - left;
      return inPane ? scaleColor(glass, 0.7 + 0.7 * cellValue(column, row, key)) : facade;
    },
  });
}

/** Plaster, bricks, boards or tiles close behind, sometimes with the floor. */
function wall(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const noise = layeredNoise(valueNoise(random), 3);
  const color = drawAnyColor(random);
  const joint = mixColors(color, pick(random, [[215, 208, 198], [40, 38, 36]] as const), 0.55);
  const kind = pick(random, ['plaster', 'plaster', 'bricks', 'boards', 'tiles'] as const);
  const height = between(random, 0.04, 0.12);
  const width = kind === 'bricks' ? height * 2.4 : kind === 'boards' ? 9 : height * 1.2;
  const key = random.integer(2 ** 30);
  const stain = between(random, 0.15, 0.5);
  paintAll(canvas, (x, y) => {
    const [s, t] = kind === 'boards' ? [y, x] : [x, y];
    const uneven = 1 + stain * (noise(x * 5, y * 5) - 0.5);
    if (kind === 'plaster') return scaleColor(color, uneven);
    const row = Math.floor(t / height);
    const column = s / width + (kind === 'bricks' ? 0.5 * (row & 1) : 0);
    const inJoint = t / height - row < 0.1 || (column - Math.floor(column)) * width < 0.1 * height;
    return scaleColor(inJoint ? joint : color, uneven * (0.85 + 0.3 * cellValue(Math.floor(column), row, key)));
  });
  if (chance(random, 0.5)) paintFloor(canvas, random, between(random, 0.75, 0.92));
  if (chance(random, 0.25)) paintShape(canvas, polygon([{ x: -size, y: size }, { x: 0, y: -size }, { x: between(random, 0.3, 0.9) * size, y: -size }, { x: 0, y: size * 1.2 }]), solid([0, 0, 0], { opacity: 0.3, softness: 0.1 * size }));
}

/** A room: wallpaper, a window, pictures, a shelf of books, curtains; and the floor. */
function room(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const paper = varied(random, pick(random, ['#d9d2c3', '#b7bfae', '#a9b4c0', '#c9a98f', '#e6e3dc', '#8d7f78']), 18);
  const paperStripes = chance(random, 0.3) ? between(random, 8, 24) : 0;
  paintAll(canvas, (x, y) => scaleColor(paper, 1.04 - 0.14 * y - (paperStripes && Math.floor(x * paperStripes) % 2 ? 0.09 : 0)));
  const things: readonly (readonly [PaintBackground, number])[] = [[paintWindow, 3], [paintShelf, 3], [paintPictureFrame, 3], [paintCurtain, 2]];
  for (let count = 1 + random.integer(4); count > 0; count--) pickWeighted(random, things)(canvas, random);
  const floor = between(random, 0.7, 0.92);
  paintShape(canvas, rectangle(0, (floor - 0.035) * size, size, floor * size), solid(scaleColor(paper, 1.15)));
  paintFloor(canvas, random, floor);
}

function paintWindow(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const [x, y, width, height] = [between(random, -0.1, 0.8) * size, between(random, 0.02, 0.25) * size, between(random, 0.22, 0.4) * size, between(random, 0.3, 0.5) * size];
  const frame = varied(random, pick(random, ['#f0efea', '#6a4d35', '#3b3d40']), 8);
  const day = varied(random, pick(random, ['#dfeaf2', '#a9c6de', '#f3e6c9', '#27313f']), 10);
  paintShape(canvas, rectangle(x, y, x + width, y + height), solid(frame));
  const bar = 0.012 * size;
  for (const column of [0, 1]) for (const row of [0, 1]) paintShape(canvas, rectangle(x + bar + (column * width) / 2, y + bar + (row * height) / 2, x + ((column + 1) * width) / 2 - bar, y + ((row + 1) * height) / 2 - bar), solid(scaleColor(day, 1 - 0.12 * row)));
}

function paintShelf(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const [x, y, width] = [between(random, -0.2, 0.75) * size, between(random, 0.05, 0.4) * size, between(random, 0.3, 0.6) * size];
  const board = varied(random, '#6b4a30', 16);
  const gap = between(random, 0.12, 0.18) * size;
  for (let row = 1 + random.integer(3), base = y + gap; row > 0; row--, base += gap) {
    for (let left = x; left < x + width; ) {
      const thickness = between(random, 0.012, 0.035) * size;
      paintShape(canvas, rectangle(left, base - gap * between(random, 0.5, 0.85), Math.min(left + thickness, x + width), base), solid(drawAnyColor(random)));
      left += thickness + (chance(random, 0.12) ? between(random, 0.01, 0.06) * size : 0);
    }
    paintShape(canvas, rectangle(x, base, x + width, base + 0.018 * size), solid(board));
  }
}

function paintPictureFrame(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const [x, y, width, height] = [between(random, 0, 0.85) * size, between(random, 0.04, 0.4) * size, between(random, 0.12, 0.3) * size, between(random, 0.12, 0.28) * size];
  const ramp = colorRamp(drawAnyColor(random), drawAnyColor(random), drawAnyColor(random));
  const noise = layeredNoise(valueNoise(random), 2);
  paintShape(canvas, rectangle(x - 0.014 * size, y - 0.014 * size, x + width + 0.014 * size, y + height + 0.014 * size), solid(varied(random, pick(random, ['#2b2420', '#b58d4a', '#e9e6df']), 8)));
  paintShape(canvas, rectangle(x, y, x + width, y + height), { colorAt: (px, py) => ramp(1.6 * (noise((px / size) * 9, (py / size) * 9) - 0.5) + 0.5) });
}

function paintCurtain(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const x = chance(random, 0.5) ? between(random, -0.1, 0.1) * size : between(random, 0.7, 0.9) * size;
  const color = drawAnyColor(random);
  const folds = between(random, 60, 140);
  paintShape(canvas, rectangle(x, 0, x + between(random, 0.15, 0.3) * size, size), { colorAt: (px) => scaleColor(color, 0.95 + 0.18 * Math.sin((folds * px) / size)) });
}

/** No place at all: clouds, blobs or discs of light in any colours. Some look like camouflage, so texture alone isn't the answer either. */
function texture(canvas: Canvas, random: RandomStream): void {
  const { size } = canvas;
  const noise = layeredNoise(valueNoise(random), 1 + random.integer(4));
  const colors = Array.from({ length: 3 + random.integer(3) }, () => drawAnyColor(random));
  const ramp = colorRamp(colors[0]!, colors[1]!, colors[2]!);
  const scale = between(random, 2, 10);
  const isStepped = chance(random, 0.4);
  paintAll(canvas, (x, y) => {
    const level = 1.7 * (noise(x * scale, y * scale) - 0.5) + 0.5;
    return isStepped ? colors[Math.max(0, Math.min(colors.length - 1, Math.floor(level * colors.length)))]! : ramp(level);
  });
  if (!isStepped && chance(random, 0.6)) for (let count = 8 + random.integer(25); count > 0; count--) {
    const radius = between(random, 0.02, 0.07) * size;
    paintShape(canvas, ellipse({ x: random.uniform() * size, y: random.uniform() * size }, radius, radius), solid(scaleColor(pick(random, colors), 1.3), { opacity: between(random, 0.2, 0.7), softness: 0.02 * size }));
  }
}

/** Down to `horizon` (share of the height) and beyond: from one blue or grey to a paler one, with clouds. */
function paintSky(canvas: Canvas, random: RandomStream, horizon: number): void {
  const ramp = colorRamp(varied(random, pick(random, ['#5b8cc4', '#8fb0cf', '#a7aeb4', '#4f6f9c', '#c9b7a6']), 14), varied(random, pick(random, ['#d5e2ec', '#e6e3da', '#c8ced2', '#efd9b8']), 10));
  const noise = layeredNoise(valueNoise(random), 4);
  const cover = between(random, -0.1, 0.35);
  const white: Color = [244, 244, 242];
  const depth = Math.max(0.2, horizon);
  paintAll(canvas, (x, y) => {
    const clear = ramp(y / depth);
    const cloud = y > depth ? 0 : Math.min(1, Math.max(0, 4 * (noise(x * 4, y * 8) - 0.62 + cover * 0.5)));
    return cloud > 0 ? mixColors(clear, white, cloud * 0.85) : clear;
  });
}

/** Boards, tiles or a carpet from `top` (share of the height) down. */
function paintFloor(canvas: Canvas, random: RandomStream, top: number): void {
  const { size } = canvas;
  const color = varied(random, pick(random, ['#7d5a3c', '#a5835c', '#8c8a86', '#5d5f63', '#b8b1a4', '#6b4a44']), 16);
  const boards = chance(random, 0.6) ? between(random, 6, 14) : 0;
  const noise = valueNoise(random);
  paintShape(canvas, rectangle(0, top * size, size, size), {
    colorAt: (x, y) => {
      const fan = (boards * (x / size - 0.5)) / (0.3 + y / size - top);
      const line = boards > 0 && fan - Math.floor(fan) < 0.08;
      return scaleColor(color, (line ? 0.65 : 1) * (0.9 + 0.2 * noise((x / size) * 9, (y / size) * 40)));
    },
  });
}

function paintStone(canvas: Canvas, random: RandomStream, horizon: number): void {
  const { size } = canvas;
  const y = between(random, horizon + 0.1, 1);
  const radius = between(random, 0.01, 0.04) * (0.4 + y) * size;
  const color = varied(random, pick(random, ['#6f5a45', '#8f8272', '#5d6038']), 14);
  paintShape(canvas, ellipse({ x: random.uniform() * size, y: y * size }, radius * 1.4, radius), solid(color, { shadeAt: (_x, _y, distance) => 0.7 + 0.4 * Math.min(1, -distance / radius) }));
}
