import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, afterAll, describe, expect, it } from 'vitest';
import { type Dataset, openDataset } from './dataset.js';
import { type Batch, PictureLoader, type TrainPlan } from './loader.js';
import { epochOrder, stepCount } from './order.js';
import { drawClasses, temporaryFolder } from './testing/pictures.js';
import { DEFAULT_AUGMENTATION, preprocess } from './transforms.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataset: Dataset;
beforeAll(async () => {
  folder = await temporaryFolder();
  await drawClasses(folder.path, { a: 12, b: 11 });
  dataset = await openDataset(folder.path);
});
afterAll(() => folder[Symbol.asyncDispose]());

const plan = (more: Partial<TrainPlan> = {}): TrainPlan => ({ seed: 7, epoch: 1, batchSize: 8, augmentation: DEFAULT_AUGMENTATION, ...more });
const collect = async (batches: AsyncIterable<Batch>) => {
  const all: Batch[] = [];
  for await (const batch of batches) all.push({ ...batch, pixels: batch.pixels.slice() });
  return all;
};

const rowsOf = ({ pixels, indices, rows }: Batch): [index: number, row: number[]][] => Array.from(indices, (index, row) => [index, [...pixels.subarray((row * pixels.length) / rows, ((row + 1) * pixels.length) / rows)]]);

describe('a loader', () => {
  it('gives the same batches whatever the number of threads, and others for another seed or epoch', async () => {
    await using one = new PictureLoader(dataset, { imageSize: 24, workers: 1 });
    await using three = new PictureLoader(dataset, { imageSize: 24, workers: 3, cacheBytes: 0 });
    const first = await collect(one.train(plan()));
    expect(await collect(three.train(plan()))).toEqual(first);
    expect(await collect(one.train(plan()))).toEqual(first);
    expect((await collect(one.train(plan({ epoch: 2 }))))[0]!.indices).not.toEqual(first[0]!.indices);
    expect((await collect(one.train(plan({ seed: 8 }))))[0]!.pixels).not.toEqual(first[0]!.pixels);
  });

  it('takes every picture once an epoch, and goes on at a step as if it had begun there', async () => {
    await using loader = new PictureLoader(dataset, { imageSize: 16, workers: 2 });
    const all = await collect(loader.train(plan()));
    expect(all.flatMap((batch) => [...batch.indices]).sort((a, b) => a - b)).toEqual(dataset.train.map((_, i) => i));
    expect(await collect(loader.train(plan({ firstStep: 1 })))).toEqual(all.slice(1));
    expect(await collect(loader.train(plan({ dropLast: true })))).toHaveLength(Math.floor(dataset.train.length / 8));
  });

  it('gives ranks slices that make up the batch', async () => {
    await using loader = new PictureLoader(dataset, { imageSize: 16, workers: 1 });
    const [whole] = await collect(loader.train(plan({ batchSize: 10, dropLast: true })));
    const [left] = await collect(loader.train(plan({ batchSize: 10, dropLast: true, slice: () => [0, 4] })));
    const [right] = await collect(loader.train(plan({ batchSize: 10, dropLast: true, slice: (rows) => [4, rows] })));
    expect([...left!.pixels, ...right!.pixels]).toEqual([...whole!.pixels]);
    expect([...left!.labels, ...right!.labels]).toEqual([...whole!.labels]);
  });

  it('gives validation pictures exactly as serving prepares them', async () => {
    await using loader = new PictureLoader(dataset, { imageSize: 20, workers: 1 });
    const batches = await collect(loader.valid({ batchSize: 3 }));
    const rows = await Promise.all(dataset.valid.map(({ path }) => preprocess(join(folder.path, path), 20)));
    expect(batches.flatMap((batch) => [...batch.pixels])).toEqual(rows.flatMap((row) => [...row]));
    expect(await collect(loader.valid({ batchSize: 3, from: 1, to: 2 }))).toMatchObject([{ rows: 1, indices: Int32Array.of(1) }]);
  });

  it('may be left early, aborted and closed, and serves the next epoch', async () => {
    await using loader = new PictureLoader(dataset, { imageSize: 16, workers: 2 });
    for await (const batch of loader.train(plan())) if (batch.step === 0) break;
    const stop = new AbortController();
    const aborted = (async () => {
      for await (const batch of loader.train(plan({ signal: stop.signal }))) if (batch.step === 0) stop.abort(new Error('enough'));
    })();
    await expect(aborted).rejects.toThrow('enough');
    expect(await collect(loader.train(plan()))).toHaveLength(stepCount(dataset.train.length, 8, false));
    await loader.close();
    await expect(collect(loader.train(plan()))).rejects.toThrow('The loader is closed.');
  });

  it('names a picture that can’t be decoded, or leaves its row out and lists it', async () => {
    await using other = await temporaryFolder();
    await drawClasses(other.path, { a: 6, b: 6 });
    const opened = await openDataset(other.path);
    await using whole = new PictureLoader(opened, { imageSize: 16, workers: 1 });
    const rows = new Map((await collect(whole.train(plan({ batchSize: 4 })))).flatMap((batch) => rowsOf(batch)));
    await writeFile(join(other.path, 'a', '004.png'), (await readFile(join(other.path, 'a', '004.png'))).subarray(0, 80));
    await using strict = new PictureLoader(opened, { imageSize: 16, workers: 1 });
    await expect(collect(strict.train(plan({ batchSize: 4 })))).rejects.toThrow(/a\/004\.png.*--skip-bad-images/s);
    await using lenient = new PictureLoader(opened, { imageSize: 16, workers: 1, onBadPicture: 'skip' });
    const batches = await collect(lenient.train(plan({ batchSize: 4 })));
    expect(batches.reduce((sum, batch) => sum + batch.rows, 0)).toBe(opened.train.length - 1);
    expect(lenient.skipped.map((file) => file.path)).toEqual(['a/004.png']);
    for (const [index, row] of batches.flatMap((batch) => rowsOf(batch))) expect(row).toEqual(rows.get(index));
  });

  it('writes later batches to the memory of earlier ones', async () => {
    await using loader = new PictureLoader(dataset, { imageSize: 16, workers: 1, prefetch: 1 });
    const memories = new Set<unknown>();
    for await (const batch of loader.train(plan({ batchSize: 4 }))) memories.add(batch.pixels.buffer);
    expect(memories.size).toBe(1);
  });
});

describe('the order of an epoch', () => {
  it('is a permutation of its own', () => {
    expect([...epochOrder(50, 1, 2)].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(epochOrder(50, 1, 2)).not.toEqual(epochOrder(50, 1, 3));
  });

  it('has a last batch that isn’t full unless it is dropped', () => {
    expect([stepCount(10, 4, false), stepCount(10, 4, true), stepCount(3, 4, true)]).toEqual([3, 2, 1]);
  });
});
