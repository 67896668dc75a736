/**
 * Which gradients travel together. Gradients are summed in buckets of about 25 MB: enough for a connection to run at its full speed, few
 * enough that the sum of one hides behind the way back through the layers of the next (Li and others, PyTorch Distributed, 2020).
 * Nothing hides the sum of the last one, so towards the end a bucket takes no more than half of what is left.
 * The layout hangs on the list of parameters alone, so that all ranks have the same. Parameters are laid out backwards, which is nearly the
 * order in which their gradients become ready.
 */

/** What the layout asks of a parameter. */
export interface Sized { readonly size: number }

export interface BucketLayout<P extends Sized> {
  entries: { parameter: P; offset: number }[];
  /** Numbers, padding counted; a multiple of `worldSize`. */
  length: number;
}

/** The first is small, so that something travels early, and the last ones are. Bytes in float32. */
const LEAST_BYTES = 1_000_000;
const BYTES = 25_000_000;
/** Numbers; each gradient begins on a line of the processor's cache. */
const ALIGNMENT = 16;

export function layBuckets<P extends Sized>(parameters: readonly P[], worldSize: number): BucketLayout<P>[] {
  const buckets: BucketLayout<P>[] = [];
  let entries: BucketLayout<P>['entries'] = [], offset = 0, left = 4 * parameters.reduce((sum, { size }) => sum + size, 0);
  const enough = () => (buckets.length === 0 ? LEAST_BYTES : Math.min(BYTES, Math.max(LEAST_BYTES, left / 2)));
  const close = () => {
    left -= 4 * offset;
    if (entries.length > 0) buckets.push({ entries, length: roundUp(offset, ALIGNMENT * worldSize) });
    entries = [];
    offset = 0;
  };
  for (const parameter of [...parameters].reverse()) {
    entries.push({ parameter, offset });
    offset = roundUp(offset + parameter.size, ALIGNMENT);
    if (4 * offset >= enough()) close();
  }
  close();
  return buckets;
}

const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;
