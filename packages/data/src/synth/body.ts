import type { RandomStream } from '@chameleon/core';
import { between, chance, pickWeighted } from './dice.js';
import type { Point } from './shapes.js';

/** One side's joints of an arm or a leg, from the trunk outwards. */
export interface Chain {
  readonly root: Point;
  readonly middle: Point;
  readonly end: Point;
}

/** A person's joints in px. */
export interface Body {
  /** px: the height of the head, the unit of all other lengths. */
  readonly head: number;
  readonly headCenter: Point;
  readonly neck: Point;
  readonly pelvis: Point;
  readonly arms: readonly [Chain, Chain];
  readonly legs: readonly [Chain, Chain];
  /** 0.85 slim … 1.2 stout. */
  readonly build: number;
}

/** Radians from hanging straight down, outwards positive; lengths of the parts as seen, 1 when not foreshortened. */
interface Bend {
  upper: number;
  lower: number;
  upperLength?: number;
  lowerLength?: number;
}

type DrawBend = (random: RandomStream) => Bend;

const ARMS: readonly (readonly [DrawBend, number])[] = [
  [(r) => ({ upper: between(r, 0.08, 0.3), lower: between(r, -0.1, 0.25) }), 10], // hanging
  [(r) => ({ upper: between(r, 0.55, 0.85), lower: between(r, -0.95, -0.6) }), 4], // hand on the hip
  [(r) => ({ upper: between(r, 0.15, 0.35), lower: between(r, -1.5, -0.9), lowerLength: between(r, 0.7, 1) }), 5], // before the belly
  [(r) => ({ upper: between(r, 0.25, 0.7), lower: between(r, 0.4, 1.3) }), 4], // swinging
  [(r) => ({ upper: between(r, 1.2, 1.8), lower: between(r, 1.2, 1.9) }), 2], // pointing
  [(r) => ({ upper: between(r, 1.5, 2.6), lower: between(r, 2.5, 3.4) }), 3], // waving
];

const LEGS: readonly (readonly [DrawBend, number])[] = [
  [(r) => ({ upper: between(r, 0.02, 0.14), lower: between(r, -0.02, 0.1) }), 8], // standing
  [(r) => ({ upper: between(r, 0.2, 0.42), lower: between(r, 0.05, 0.4) }), 4], // stepping out
  [(r) => ({ upper: between(r, 0.1, 0.5), lower: between(r, -0.35, 0), upperLength: between(r, 0.75, 0.95) }), 3], // a bent knee
];

const CROUCHING: DrawBend = (r) => ({ upper: between(r, 0.45, 0.95), lower: between(r, -0.25, 0.15), upperLength: between(r, 0.45, 0.7), lowerLength: between(r, 0.8, 1) });

/** How much of a person is in the picture. */
export type Framing = 'whole' | 'knees' | 'bust' | 'group';

/** A person of `framing` in a square of `size` px, about `center` (0 … 1 of the width). */
export function drawBody(random: RandomStream, framing: Framing, center: number, size: number): Body {
  const head = size * drawHeadShare(random, framing);
  const build = between(random, 0.85, 1.2);
  const turn = between(random, 0.72, 1);
  const lean = 0.09 * random.normal();
  const at = (from: Point, angle: number, length: number): Point => ({ x: from.x + Math.sin(angle) * length * head, y: from.y + Math.cos(angle) * length * head });
  const pelvis = { x: center * size - Math.sin(lean) * head, y: size * drawPelvisHeight(random, framing, head / size) };
  const neck = at(pelvis, Math.PI - lean, 2.45);
  const crouches = (framing === 'whole' || framing === 'group') && chance(random, 0.18);
  const chain = (root: Point, side: number, upper: number, lower: number, bend: Bend): Chain => {
    const middle = at(root, side * bend.upper, upper * (bend.upperLength ?? 1));
    return { root, middle, end: at(middle, side * bend.lower, lower * (bend.lowerLength ?? 1)) };
  };
  const arm = (side: number) => chain(at({ x: neck.x + side * 0.8 * turn * build * head, y: neck.y }, -lean, 0.24), side, 1.3, 1.12, pickWeighted(random, ARMS)(random));
  const leg = (side: number) => chain({ x: pelvis.x + side * 0.37 * build * turn * head, y: pelvis.y }, side, 1.75, 1.65, crouches ? CROUCHING(random) : pickWeighted(random, LEGS)(random));
  const lowered = crouches ? 0.8 * head : 0;
  const moved = (p: Point): Point => ({ x: p.x, y: p.y + lowered });
  const movedChain = ({ root, middle, end }: Chain): Chain => ({ root: moved(root), middle: moved(middle), end: moved(end) });
  const headCenter = at(neck, Math.PI - lean + 0.1 * random.normal(), 0.72);
  return { head, headCenter: moved(headCenter), neck: moved(neck), pelvis: moved(pelvis), arms: [movedChain(arm(-1)), movedChain(arm(1))], legs: [movedChain(leg(-1)), movedChain(leg(1))], build };
}

/** The head's height as a share of the picture's. */
function drawHeadShare(random: RandomStream, framing: Framing): number {
  switch (framing) {
    case 'whole':
      return between(random, 0.105, 0.13);
    case 'knees':
      return between(random, 0.145, 0.2);
    case 'bust':
      return between(random, 0.21, 0.3);
    case 'group':
      return between(random, 0.1, 0.125);
  }
}

/** 0 at the top … 1 at the bottom of the picture, or beyond. */
function drawPelvisHeight(random: RandomStream, framing: Framing, head: number): number {
  switch (framing) {
    case 'whole':
    case 'group':
      return between(random, 0.52, 0.6);
    case 'knees':
      return between(random, 0.06, 0.16) + 3.75 * head;
    case 'bust':
      return between(random, 0.04, 0.16) + 3.7 * head;
  }
}
