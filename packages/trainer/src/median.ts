/** The middle of some numbers; of an even count, the mean of the middle two. @throws RangeError where there is none */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no numbers, no median');
  const sorted = values.toSorted((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
