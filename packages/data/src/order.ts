import { permutation } from '@chameleon/core';

/** The order in which an epoch takes the pictures: a function of seed and epoch alone. */
export function epochOrder(count: number, seed: number, epoch: number): Int32Array {
  return permutation(count, seed, 'order', epoch);
}

/** Steps of an epoch. A last batch that isn't full is dropped on demand, unless it is the only one. */
export function stepCount(count: number, batchSize: number, dropLast: boolean): number {
  return dropLast && count > batchSize ? Math.floor(count / batchSize) : Math.ceil(count / batchSize);
}
