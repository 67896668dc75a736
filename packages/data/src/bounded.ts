/**
 * The results of `work` on each item, in order, with at most `limit` under way at a time. After a failure nothing more
 * is begun; what is under way is awaited, and the failure of the first item in order is thrown: always the same one.
 */
export async function mapBounded<Item, Result>(items: readonly Item[], limit: number, work: (item: Item, index: number) => Promise<Result>, signal?: AbortSignal): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  let next = 0;
  const failures: { index: number; error: unknown }[] = [];
  const lane = async () => {
    while (next < items.length && failures.length === 0 && !signal?.aborted) {
      const index = next++;
      try {
        results[index] = await work(items[index]!, index);
      } catch (error) {
        failures.push({ index, error });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
  signal?.throwIfAborted();
  if (failures.length > 0) throw failures.reduce((first, other) => (other.index < first.index ? other : first)).error;
  return results;
}
