import { expect, test } from 'vitest';
import { Problem } from '../problems.js';
import { dyingEngine } from '../testing/engines.js';
import { temporaryFolder, writeRandomModel } from '../testing/models.js';
import { SILENT } from '../testing/server.js';
import { ServedVersion } from './served-version.js';

const patience = { key: 'a', timeoutMs: 10_000, signal: new AbortController().signal };
const blank = () => new Float32Array(64 * 64 * 3);

test('a lost compute thread is replaced, and its pictures are computed by the next', async () => {
  await using folder = await temporaryFolder();
  await writeRandomModel(folder.path);
  const served = await ServedVersion.open({
    name: 'clothes', version: '1', batcher: { maxBatch: 2, maxQueue: 8, maxDelayMs: 1 }, onBatch: () => undefined, log: SILENT,
    compute: { engine: await dyingEngine(folder.path, 1), folder: folder.path, precision: 'auto', threads: 1, computeTimeoutMs: 10_000 },
  });
  const { probabilities } = await served.queue.reserve(1, patience).predict(0, blank());
  expect(probabilities).toHaveLength(3);
  expect(served.status).toBe('ready');
  await served.stop(new Problem('draining', 'over'));
  await expect(served.queue.reserve(1, patience).predict(0, blank())).rejects.toMatchObject({ code: 'compute-failed' });
});

test('pictures whose thread is lost twice are refused with 503, and the version goes on', async () => {
  await using folder = await temporaryFolder();
  await writeRandomModel(folder.path);
  const served = await ServedVersion.open({
    name: 'clothes', version: '1', batcher: { maxBatch: 2, maxQueue: 8, maxDelayMs: 1 }, onBatch: () => undefined, log: SILENT,
    compute: { engine: await dyingEngine(folder.path, 2), folder: folder.path, precision: 'auto', threads: 1, computeTimeoutMs: 10_000 },
  });
  await expect(served.queue.reserve(1, patience).predict(0, blank())).rejects.toMatchObject({ code: 'compute-failed', status: 503 });
  await expect(served.queue.reserve(1, patience).predict(0, blank())).resolves.toMatchObject({ probabilities: expect.any(Float32Array) as unknown });
  await served.stop(new Problem('draining', 'over'));
});
