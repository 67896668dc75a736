/** How a global batch is shared out. `split` says how many pictures of a whole batch each rank takes. */
export type Split = readonly number[];

/** Shares as equal as they can be; the first ranks take what is left over. */
export function evenSplit(batchSize: number, worldSize: number): number[] {
  return Array.from({ length: worldSize }, (_, rank) => Math.floor(batchSize / worldSize) + (rank < batchSize % worldSize ? 1 : 0));
}

/**
 * Shares in proportion to `weights` (pictures a second), by largest remainder; everyone takes one picture at least.
 * @throws RangeError when there are fewer pictures than ranks, or a weight is not above 0
 */
export function weightedSplit(batchSize: number, weights: readonly number[]): number[] {
  if (batchSize < weights.length) throw new RangeError(`${batchSize} pictures can't be shared among ${weights.length} ranks`);
  if (weights.some((weight) => !(weight > 0 && Number.isFinite(weight)))) throw new RangeError('a weight must be a number above 0');
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const spare = batchSize - weights.length;
  const ideal = weights.map((weight) => (weight / total) * spare);
  const shares = ideal.map((share) => 1 + Math.floor(share));
  const byRemainder = ideal.map((share, rank) => ({ rank, remainder: share - Math.floor(share) })).sort((a, b) => b.remainder - a.remainder || a.rank - b.rank);
  let left = batchSize - shares.reduce((sum, share) => sum + share, 0);
  for (const { rank } of byRemainder) if (left-- > 0) shares[rank]!++;
  return shares;
}

/**
 * The rows [from, to) of a global batch of `rows` pictures that a rank takes. The slices of all ranks make up the batch,
 * in order, also when it is an epoch's last and not whole.
 */
export function sliceOf(split: Split, rank: number, rows: number = sum(split)): [from: number, to: number] {
  const whole = sum(split);
  const before = sum(split.slice(0, rank));
  return [Math.floor((before * rows) / whole), Math.floor(((before + split[rank]!) * rows) / whole)];
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
