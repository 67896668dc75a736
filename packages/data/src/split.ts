import { permutation } from '@chameleon/core';
import type { Picture } from './dataset.js';

/** `article`: the first of each class in file-name order are for validation; `stratified`: a seeded choice in each class; `folders`: as they lie. */
export type SplitMethod = 'article' | 'stratified' | 'folders';

/**
 * Parts the pictures of all classes for training and validation: of each class `floor(count * validFraction)` for
 * validation. The order of the pictures is kept on both sides.
 */
export function splitPictures(pictures: readonly Picture[], method: Exclude<SplitMethod, 'folders'>, validFraction: number, seed: number): { train: Picture[]; valid: Picture[] } {
  const classes = new Map<number, Picture[]>();
  for (const picture of pictures) {
    const members = classes.get(picture.label);
    if (members) members.push(picture);
    else classes.set(picture.label, [picture]);
  }
  const valid = new Set<Picture>();
  for (const [label, members] of classes) {
    // Without the small addition 0.29 of 100 would be 28.
    const count = Math.floor(members.length * validFraction + 1e-9);
    const ranked = method === 'article' ? members : Array.from(permutation(members.length, seed, 'split', label), (i) => members[i]!);
    for (const picture of ranked.slice(0, count)) valid.add(picture);
  }
  return { train: pictures.filter((picture) => !valid.has(picture)), valid: pictures.filter((picture) => valid.has(picture)) };
}
