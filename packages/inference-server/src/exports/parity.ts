/** Whether two networks say the same of the same pictures. */
export interface Parity {
  pictures: number;
  /** Of all probabilities of all pictures. */
  largestDifference: number;
  /** The part of the pictures whose most probable class is the same. Classes that the tolerance can't tell apart count as the same. */
  top1Agreement: number;
  /** The largest difference that is taken. */
  tolerance: number;
  equal: boolean;
}

/** @param expected @param actual probabilities, [pictures, classes], row by row */
export function compareAnswers(expected: Float32Array, actual: Float32Array, classCount: number, tolerance: number): Parity {
  if (expected.length !== actual.length || expected.length % classCount !== 0) throw new Error(`${actual.length} probabilities were given for ${expected.length}`);
  const pictures = expected.length / classCount;
  let largestDifference = 0, agreeing = 0;
  for (let row = 0; row < pictures; row++) {
    const ours = expected.subarray(row * classCount, (row + 1) * classCount), theirs = actual.subarray(row * classCount, (row + 1) * classCount);
    let best = 0;
    for (let i = 0; i < classCount; i++) {
      // A NaN is the largest difference of all.
      const difference = Math.abs(ours[i]! - theirs[i]!);
      largestDifference = Math.max(largestDifference, Number.isNaN(difference) ? Infinity : difference);
      if (theirs[i]! > theirs[best]!) best = i;
    }
    if (ours[best]! >= Math.max(...ours) - tolerance) agreeing++;
  }
  const top1Agreement = pictures === 0 ? 0 : agreeing / pictures;
  return { pictures, largestDifference, top1Agreement, tolerance, equal: pictures > 0 && largestDifference <= tolerance && top1Agreement === 1 };
}
