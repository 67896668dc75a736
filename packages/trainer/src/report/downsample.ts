/** [x, y] */
export type Point = readonly [number, number];

/**
 * At most `2 * stretchCount` of the points, in order: of each stretch the least and the greatest,
 * so that no spike is lost. Fewer points come back as they are. All must be finite.
 */
export function downsample(points: readonly Point[], stretchCount: number): Point[] {
  if (points.length <= 2 * stretchCount) return [...points];
  const kept: Point[] = [];
  for (let stretch = 0; stretch < stretchCount; stretch++) {
    const start = Math.floor((stretch * points.length) / stretchCount);
    const end = Math.floor(((stretch + 1) * points.length) / stretchCount);
    let [least, greatest] = [start, start];
    for (let i = start; i < end; i++) {
      if (points[i]![1] < points[least]![1]) least = i;
      if (points[i]![1] > points[greatest]![1]) greatest = i;
    }
    for (const i of new Set([Math.min(least, greatest), Math.max(least, greatest)])) kept.push(points[i]!);
  }
  return kept;
}
