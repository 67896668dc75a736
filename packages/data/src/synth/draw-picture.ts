import { randomStream } from '@chameleon/core';
import type { RgbImage } from '../resize.js';
import { paintBackground } from './backgrounds.js';
import { type Body, type Framing, drawBody } from './body.js';
import { photograph } from './camera.js';
import { createCanvas, paintShape, solid } from './canvas.js';
import { between, chance, pickWeighted } from './dice.js';
import { type Figure, paintFigure } from './figure.js';
import { paintForeground } from './foreground.js';
import { type ClassName, drawCloths, drawCut } from './outfit.js';
import { ellipse } from './shapes.js';

/** px: width and height of a drawn picture, unless told otherwise. */
export const DEFAULT_PICTURE_SIZE = 160;

/** The scene is drawn this many times larger than the picture. */
const OVERSAMPLING = 1.5;

export interface PictureKey {
  seed: number;
  /** Which of the seed's pictures. */
  index: number;
  className: ClassName;
}

/** All that a picture shows, before it is painted. */
export interface Scene {
  readonly seed: number;
  readonly index: number;
  readonly figures: readonly Figure[];
  /** px: the canvas' width and height. */
  readonly canvasSize: number;
}

/**
 * A picture of one person or a few in clothes of the class. It depends on its key alone. Every part has its own
 * random numbers, and only the cloth's know the class: with the other class the same people stand in the same
 * place in the same light, dressed differently.
 */
export function drawPicture(key: PictureKey, size: number = DEFAULT_PICTURE_SIZE): RgbImage {
  return paintScene(planScene(key, size), size);
}

/** Who stands where and wears what. */
export function planScene({ seed, index, className }: PictureKey, size: number): Scene {
  const canvasSize = Math.round(size * OVERSAMPLING);
  const random = randomStream(seed, 'synth', index, 'figures');
  const clothRandom = randomStream(seed, 'synth', index, 'cloth', className);
  const framing = pickWeighted<Framing>(random, [['whole', 3], ['knees', 4], ['bust', 3], ['group', 2]]);
  const figures = figureCenters(framing, random.uniform()).map((center): Figure => ({
    body: drawBody(random, framing, center, canvasSize),
    cut: drawCut(random),
    cloths: drawCloths(clothRandom, className),
  }));
  return { seed, index, figures, canvasSize };
}

/** Where people stand, 0 … 1 of the width; `place` is uniform in [0, 1). */
function figureCenters(framing: Framing, place: number): number[] {
  switch (framing) {
    case 'whole':
      return [0.3 + 0.4 * place];
    case 'knees':
      return [0.28 + 0.44 * place];
    case 'bust':
      return [0.32 + 0.36 * place];
    case 'group':
      return place < 0.6 ? [0.28 + 0.1 * place, 0.68 + 0.1 * place] : [0.2, 0.48 + 0.06 * place, 0.82];
  }
}

/** Background, people, what stands before them; then the photograph. */
export function paintScene({ seed, index, figures, canvasSize }: Scene, size: number): RgbImage {
  const stream = (part: string) => randomStream(seed, 'synth', index, part);
  const canvas = createCanvas(canvasSize);
  paintBackground(canvas, stream('background'));
  const random = stream('light');
  const light = between(random, -1, 1);
  for (const figure of figures) {
    if (chance(random, 0.7)) paintShape(canvas, shadowOf(figure.body, light), solid([0, 0, 0], { opacity: 0.35, softness: 0.3 * figure.body.head }));
    paintFigure(canvas, figure, light, random);
  }
  paintForeground(canvas, stream('foreground'));
  return photograph(canvas, size, stream('camera'));
}

/** On the ground at the feet, away from the light. */
function shadowOf({ head, legs: [left, right] }: Body, light: number) {
  const y = Math.max(left.end.y, right.end.y) + 0.2 * head;
  return ellipse({ x: (left.end.x + right.end.x) / 2 - 0.5 * light * head, y }, 1.4 * head, 0.22 * head);
}
