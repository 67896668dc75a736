import type { RandomStream } from '@chameleon/core';
import { type Cloth, drawCamouflage } from './camouflage.js';
import { between, chance, pickWeighted } from './dice.js';
import { drawEverydayCloth, drawPlainCloth } from './everyday-cloth.js';
import { type Color, drawHair, drawLeather, drawSkin } from './palettes.js';

/** The classes, named as in the article's data set; folders of these names sort in this order. */
export const CLASSES = ['camouflage_clothes', 'normal_clothes'] as const;
export type ClassName = (typeof CLASSES)[number];

/** What a person is and wears apart from the cloth's pattern: drawn without knowing the class. */
export interface Cut {
  readonly skin: Color;
  readonly hairColor: Color;
  readonly hair: 'short' | 'long' | 'none';
  readonly headwear: 'none' | 'cap' | 'brim' | 'helmet' | 'beanie';
  readonly sleeves: 'long' | 'short';
  readonly legs: 'long' | 'short' | 'skirt';
  /** Heads below the hips where the upper garment ends. */
  readonly hem: number;
  readonly front: 'closed' | 'zip' | 'buttons';
  readonly carries: 'nothing' | 'vest' | 'straps' | 'sash';
  readonly belt: boolean;
  readonly pockets: boolean;
  readonly glasses: boolean;
  readonly leather: Color;
  readonly bag: Color;
  readonly shirt: Color;
  /** How strongly folds show, 0 … 0.5. */
  readonly folds: number;
}

/** What the class decides. */
export interface Cloths {
  readonly top: Cloth;
  readonly bottom: Cloth;
  readonly headwear: Cloth;
}

export function drawCut(random: RandomStream): Cut {
  return {
    skin: drawSkin(random),
    hairColor: drawHair(random),
    hair: pickWeighted(random, [['short', 6], ['long', 3], ['none', 1]]),
    headwear: pickWeighted(random, [['none', 11], ['cap', 4], ['brim', 2], ['helmet', 2], ['beanie', 2]]),
    sleeves: pickWeighted(random, [['long', 3], ['short', 1]]),
    legs: pickWeighted(random, [['long', 16], ['short', 2], ['skirt', 2]]),
    hem: between(random, -0.15, 0.55),
    front: pickWeighted(random, [['closed', 3], ['zip', 2], ['buttons', 2]]),
    carries: pickWeighted(random, [['nothing', 12], ['vest', 2], ['straps', 4], ['sash', 2]]),
    belt: chance(random, 0.35),
    pockets: chance(random, 0.4),
    glasses: chance(random, 0.12),
    leather: drawLeather(random),
    bag: drawLeather(random),
    shirt: drawLeather(random),
    folds: between(random, 0.15, 0.5),
  };
}

/** Camouflage above, mostly below too; or everyday cloth. A cap may be of the same cloth or plain. */
export function drawCloths(random: RandomStream, className: ClassName): Cloths {
  switch (className) {
    case 'camouflage_clothes': {
      const top = drawCamouflage(random);
      return { top, bottom: chance(random, 0.7) ? top : drawPlainCloth(random), headwear: chance(random, 0.65) ? top : drawPlainCloth(random) };
    }
    case 'normal_clothes': {
      const top = drawEverydayCloth(random);
      const bottom = pickWeighted(random, [[top, 2], [drawPlainCloth(random), 6], [drawEverydayCloth(random), 2]]);
      return { top, bottom, headwear: pickWeighted(random, [[top, 1], [drawPlainCloth(random), 1]]) };
    }
  }
}
