import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findRecipe } from '@chameleon/core';
import { packShards } from '@chameleon/data';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startCoordinator } from './coordinator/start.js';
import type { RunEvent } from './events.js';
import { FILES, readEvents } from './run-directory.js';
import { readRunRecord } from './run-record.js';
import { endProcesses, startWorkerProcess } from './testing/processes.js';
import { drawSmallDataset, smallConfig, startEngine, surroundings, temporaryFolder } from './testing/small-run.js';
import { resume, train } from './train.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const at = (...steps: string[]) => join(folder.path, ...steps);
beforeAll(async () => {
  folder = await temporaryFolder();
  await startEngine();
  await drawSmallDataset(at('photos'));
  await packShards(at('photos'), at('packed'), { shardBytes: 8_000 });
});
afterEach(endProcesses);
afterAll(() => folder[Symbol.asyncDispose]());

/** What a run learnt, without its times. */
const curve = (events: readonly RunEvent[]) => events.flatMap((event) => (event.type === 'step' ? [event.loss] : event.type === 'epoch' ? [event.trainLoss, event.validLoss, event.validAccuracy] : []));

describe('a run over shards', () => {
  it('has the curve, the manifest and the model of the same run over the folder', async () => {
    const [plain, packed] = [await train(smallConfig(at('photos')), { out: folder.path, path: at('plain') }, surroundings()), await train(smallConfig(at('packed')), { out: folder.path, path: at('sharded') }, surroundings())];
    const [one, other] = [curve(await readEvents(plain.path)), curve(await readEvents(packed.path))];
    expect(one.length).toBeGreaterThan(6);
    expect(other).toEqual(one);
    for (const name of [FILES.manifest, join(FILES.model, 'model.safetensors'), FILES.validation]) expect((await readFile(at('sharded', name))).equals(await readFile(at('plain', name)))).toBe(true);
  });

  it('shows the pictures that it took for something else', async () => {
    const { path } = await train(smallConfig(at('packed'), { epochs: 1 }), { out: folder.path, path: at('mistaken') }, surroundings());
    const lines = (await readFile(join(path, FILES.validation), 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as { label: number });
    await writeFile(join(path, FILES.validation), lines.map((line) => `${JSON.stringify({ ...line, probabilities: line.label === 0 ? [0.1, 0.9] : [0.9, 0.1] })}\n`).join(''));
    const { mistakes } = await readRunRecord(path);
    expect(mistakes).toHaveLength(6);
    for (const { thumbnail } of mistakes) expect(thumbnail).toMatch(/^data:image\/jpeg;base64,/);
  });

  it('goes on over the folder, and leaves a picture out whose bytes are others', async () => {
    const stop = new AbortController();
    const halted = await train(smallConfig(at('packed')), { out: folder.path, path: at('halted') }, surroundings({ signal: stop.signal, observe: (event) => event.type === 'step' && stop.abort() }));
    expect(halted.reason).toBe('interrupted');
    const text = await readFile(join(halted.path, FILES.config), 'utf8');
    await writeFile(join(halted.path, FILES.config), text.replace(at('packed'), at('photos')));
    expect((await resume(halted.path, surroundings())).reason).toBe('done');

    const damaged = at('damaged');
    const { shards } = await packShards(at('photos'), damaged, { shardBytes: 8_000 });
    const shard = join(damaged, shards.at(-1)!.file), { name, offset } = shards.at(-1)!.entries.at(-1)!, bytes = await readFile(shard);
    bytes[offset + 40]! ^= 1;
    await writeFile(shard, bytes);
    await expect(train(smallConfig(damaged), { out: folder.path, path: at('strict') }, surroundings())).rejects.toThrow(`${name} has other bytes in ${shards.at(-1)!.file} than shards.json says`);
    const lenient = await train(smallConfig(damaged, { skipBadImages: true }), { out: folder.path, path: at('lenient') }, surroundings());
    expect((await readEvents(lenient.path)).flatMap((event) => (event.type === 'skip' ? [event.path] : []))).toEqual([name]);
  });

  it('has the curve of one machine with two workers, one of which has the folder, the other shards of another size', { timeout: 120_000 }, async () => {
    const elsewhere = at('elsewhere');
    await packShards(at('photos'), elsewhere, { shardBytes: 5_000 });
    const config = (data: string) => smallConfig(data, { epochs: 3, recipe: findRecipe('discriminative-bn-eval') });
    const running = await startCoordinator({ config: config(at('packed')), out: folder.path, path: at('together') }, { listen: '127.0.0.1:0', security: { token: 'of the tests', tls: null }, minWorkers: 2, maxWorkers: 2, detectionMs: 2_000, joinWindowMs: 30_000, maxFailures: 3, balance: false, exchange: 'gloo' }, { backend: 'none' });
    onTestFinished(() => running.close());
    const given = { coordinator: `127.0.0.1:${running.port}`, token: 'of the tests' };
    const workers = [startWorkerProcess({ ...given, id: 'folder', data: at('photos') }), startWorkerProcess({ ...given, id: 'shards', data: elsewhere })];
    expect(await running.outcome).toMatchObject({ reason: 'done' });
    expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0]);
    const alone = await train(config(at('photos')), { out: folder.path, path: at('alone') }, surroundings());
    const [together, expected] = [curve(await readEvents(running.path)), curve(await readEvents(alone.path))];
    expect(together).toHaveLength(expected.length);
    for (const [i, value] of expected.entries()) expect(together[i]).toBeCloseTo(value, 4);
    expect((await readFile(join(running.path, FILES.manifest))).equals(await readFile(join(alone.path, FILES.manifest)))).toBe(true);
  });
});
