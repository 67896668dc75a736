import { once } from 'node:events';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { addon } from './addon.js';
import { LibtorchBackend } from './backend.js';
import { ProcessGroup } from './collectives.js';

// Worker threads run plain JavaScript: they load what `npm run build` made.
const built = new URL('../dist/index.js', import.meta.url).href;
const core = pathToFileURL(createRequire(import.meta.url).resolve('@tensorflow/tfjs-core')).href;

/** A rank in a thread of its own. */
const source = `
  const { parentPort, workerData } = require('node:worker_threads');
  (async () => {
    await import(workerData.built);
    const tf = await import(workerData.core);
    await tf.setBackend('libtorch');
    const { rank, port } = workerData;
    const group = tf.backend().openGroup({ kind: 'gloo', rank, worldSize: 2, host: '127.0.0.1', port, prefix: 'test/1', address: '127.0.0.1', timeoutMs: 20000 });
    await group.ready;
    const statistics = tf.tensor2d([rank + 1, 10, 0.5, -rank, 2 ** 20], [1, 5]);
    group.sumNow(statistics);
    const bucket = group.bucket(64, 'float32'), gradient = tf.tensor([1, 2, 3].map((value) => value * (rank + 1)));
    bucket.place(gradient, { offset: 16, filter: false });
    await Promise.all([group.sumBucket(bucket), group.settle()]);
    bucket.take(gradient, { offset: 16, filter: false });
    const inPlace = [...gradient.dataSync()];
    // It ends with a call under way that nobody else makes.
    if (rank === 0) group.sumNumbers([1]).catch(() => undefined);
    parentPort.postMessage({ statistics: [...statistics.dataSync()], inPlace });
  })();
`;

const freePort = () => new Promise<number>((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address() as { port: number };
    server.close(() => resolve(port));
  });
});

it.skipIf(!addon().collectives.includes('gloo'))('sums between threads, in the middle of a pass and in buckets, and a thread may end with a sum under way', async () => {
  const port = await freePort();
  const workers = [0, 1].map((rank) => new Worker(source, { eval: true, execArgv: [], workerData: { built, core, rank, port } }));
  const answers = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as { statistics: number[]; inPlace: number[] }));
  await Promise.all(workers.map((worker) => worker.terminate()));
  for (const { statistics, inPlace } of answers) {
    expect(statistics).toEqual([3, 20, 1, -1, 2 ** 21]);
    expect(inPlace).toEqual([3, 6, 9]);
  }
});

it.skipIf(addon().collectives.includes('nccl'))('says what NCCL wants where the addon was compiled without it', () => {
  const options = { kind: 'nccl' as const, rank: 0, worldSize: 2, host: '127.0.0.1', port: 1, prefix: 'test', address: '127.0.0.1', timeoutMs: 1_000 };
  expect(() => new ProcessGroup(new LibtorchBackend(), options)).toThrow(/compiled without NCCL, which wants a libtorch with CUDA/);
});
