import { join } from 'node:path';
import { findRecipe, readSafetensors } from '@chameleon/core';
import { type Dataset, PictureLoader, openDataset } from '@chameleon/data';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { START, newestCheckpoint } from './checkpoint.js';
import type { TrainConfig } from './config.js';
import { openRunClient } from './coordinator/client.js';
import { type CoordinatorOptions, type RunningCoordinator, startCoordinator } from './coordinator/start.js';
import { type NewEvent, type RunEvent, effectiveEvents } from './events.js';
import { alone as oneRank } from './exchange/exchange.js';
import { createOptimizer, fit } from './fit.js';
import type { TakenChange } from './live/change.js';
import { openModel } from './model-bundle.js';
import { readEvents } from './run-directory.js';
import { expectLedger as expectWholeLedger } from './testing/ledger.js';
import { type TestProcess, endProcesses, startCoordinatorProcess, startWorkerProcess, until } from './testing/processes.js';
import { drawSmallDataset, smallConfig, startEngine, surroundings, temporaryFolder } from './testing/small-run.js';
import { startModel, train } from './train.js';
import { freePort } from './worker/address.js';

/** Real workers in processes of their own, with the real engine and the real exchange. */

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataset: Dataset;
/** The weights of one machine, without a coordinator. */
let alone: Promise<Map<string, Float32Array>>;
beforeAll(async () => {
  await startEngine();
  folder = await temporaryFolder();
  await drawSmallDataset(join(folder.path, 'data'));
  dataset = await openDataset(join(folder.path, 'data'));
  alone = train(config(), { out: folder.path, path: join(folder.path, 'alone') }, surroundings()).then(() => lastWeights('alone'));
  alone.catch(() => undefined);
});
afterEach(endProcesses);
afterAll(() => folder[Symbol.asyncDispose]());

const config = (more: Partial<TrainConfig> = {}): TrainConfig => smallConfig(dataset.root, { recipe: findRecipe('discriminative-bn-eval'), epochs: 10, batchSize: 8, ...more });
const options = (more: Partial<CoordinatorOptions> = {}): CoordinatorOptions => ({ listen: '127.0.0.1:0', security: { token: 'a token of the tests', tls: null }, minWorkers: 1, maxWorkers: 3, detectionMs: 1_000, joinWindowMs: 10_000, maxFailures: 50, balance: false, exchange: 'gloo', ...more });

interface Running extends AsyncDisposable {
  running: RunningCoordinator;
  events: RunEvent[];
  step(): number;
  worker(id: string): TestProcess;
  ranks(): string[];
}

async function begin(path: string, given: Partial<CoordinatorOptions> = {}, more: Partial<TrainConfig> = {}): Promise<Running> {
  const events: RunEvent[] = [];
  const running = await startCoordinator({ config: config(more), out: folder.path, path: join(folder.path, path) }, options(given), { backend: 'libtorch', observe: (event) => events.push(event) });
  return {
    running, events,
    step: () => running.coordinator.parts.log.step,
    worker: (id) => startWorkerProcess({ coordinator: `127.0.0.1:${running.port}`, id, token: 'a token of the tests' }),
    ranks: () => [...(running.coordinator.membership.generation?.members ?? [])],
    [Symbol.asyncDispose]: () => running.close(),
  };
}

/** The steps of one rank that takes changes at the steps that they name. */
async function trainChanged(given: TrainConfig, changes: TakenChange[]): Promise<Extract<NewEvent, { type: 'step' }>[]> {
  const steps: Extract<NewEvent, { type: 'step' }>[] = [];
  const model = startModel(given, dataset.classes.length, { name: 'random', tensors: null }), optimizer = createOptimizer(given);
  await using loader = new PictureLoader(dataset, { imageSize: given.imageSize, workers: 1 });
  try {
    await fit({ config: given, dataset, model, optimizer, loader, exchange: oneRank, start: START, signal: new AbortController().signal, askedChanges: () => changes, emit: (fact) => Promise.resolve(void (fact.type === 'step' && steps.push(fact))), checkpoint: () => Promise.resolve() });
    return steps;
  } finally {
    model.dispose();
    optimizer.dispose();
  }
}

/** The facts of a run, after a look into its ledger. */
async function expectLedger(path: string, given = config()): Promise<RunEvent[]> {
  const events = await readEvents(join(folder.path, path));
  expectWholeLedger(effectiveEvents(events), dataset.train.length, given);
  return events;
}

async function lastWeights(path: string): Promise<Map<string, Float32Array>> {
  const { tensors } = readSafetensors((await newestCheckpoint(join(folder.path, path)))!.bytes.model);
  return new Map([...tensors].flatMap(([name, { dtype, bytes }]) => (dtype === 'F32' ? [[name, new Float32Array(bytes.slice().buffer)]] : [])));
}

/** The largest difference of any weight, over all of them. */
function difference(a: Map<string, Float32Array>, b: Map<string, Float32Array>): number {
  return Math.max(...[...a].map(([name, values]) => values.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b.get(name)![i]!)), 0)));
}

/** The norm of the difference of all weights and running statistics, whose sizes differ much, against the norm of all. */
function distance(a: Map<string, Float32Array>, b: Map<string, Float32Array>): number {
  const norm = (of: (value: number, name: string, i: number) => number) => Math.sqrt([...a].reduce((sum, [name, values]) => values.reduce((partial, value, i) => partial + of(value, name, i) ** 2, sum), 0));
  return norm((value, name, i) => value - b.get(name)![i]!) / norm((value) => value);
}

/** Sums of other order differ in their last bits, and 30 steps of Adam make the most of it. */
const TOLERANCE = 2e-3;

describe('one run over several processes', { timeout: 120_000 }, () => {
  it('has after 30 steps the weights that one machine has, with one, two and three workers', async () => {
    await Promise.all([1, 2, 3].map(async (count) => {
      await using run = await begin(`of-${count}`, { maxWorkers: count, });
      const workers = Array.from({ length: count }, (_, i) => run.worker(`w${i}`));
      expect(await run.running.outcome).toMatchObject({ reason: 'done', step: 30 });
      expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual(workers.map(() => 0));
      await expectLedger(`of-${count}`);
      (await openModel(join(folder.path, `of-${count}`))).model.dispose();
    }));
    for (const path of ['of-1', 'of-2', 'of-3']) expect(difference(await alone, await lastWeights(path)), path).toBeLessThan(TOLERANCE);
  });

  it('has one machine’s weights with synchronised statistics too, though the last batch of an epoch leaves a worker without a picture', async () => {
    const settings = { recipe: findRecipe('discriminative'), syncBatchNorm: true, epochs: 6, batchSize: 11 };
    const machine = train(config({ ...settings, syncBatchNorm: false }), { out: folder.path, path: join(folder.path, 'alone-synchronised') }, surroundings());
    await using run = await begin('synchronised', { maxWorkers: 3 }, settings);
    const workers = ['a', 'b', 'c'].map((id) => run.worker(id));
    expect(await run.running.outcome).toMatchObject({ reason: 'done', step: 18 });
    expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0, 0]);
    await expectLedger('synchronised', config(settings));
    await machine;
    expect(distance(await lastWeights('alone-synchronised'), await lastWeights('synchronised'))).toBeLessThan(TOLERANCE);
  });

  it('gives a step up that waits for synchronised statistics, and goes on with the same weights', async () => {
    const settings = { recipe: findRecipe('discriminative'), syncBatchNorm: true, epochs: 10, batchSize: 8 };
    const machine = train(config({ ...settings, syncBatchNorm: false }), { out: folder.path, path: join(folder.path, 'alone-cut') }, surroundings());
    await using run = await begin('synchronised-cut', { maxWorkers: 2 }, settings);
    const [a, b] = [run.worker('a'), run.worker('b')];
    await until('step 3', () => run.step() >= 3);
    b.kill('SIGSTOP');
    await until('one is left', () => run.ranks().join() === 'a');
    b.kill('SIGKILL');
    expect(await run.running.outcome).toMatchObject({ reason: 'done', step: 30 });
    expect(await a.ended).toBe(0);
    await expectLedger('synchronised-cut', config(settings));
    await machine;
    expect(distance(await lastWeights('alone-cut'), await lastWeights('synchronised-cut'))).toBeLessThan(TOLERANCE);
  });

  it('goes on when workers are killed, rank 0 too, takes in others, and ends with the same weights', async () => {
    await using run = await begin('killed');
    const workers = new Map(['a', 'b', 'c'].map((id) => [id, run.worker(id)]));
    await until('step 5', () => run.step() >= 5);
    workers.get(run.ranks()[0]!)!.kill('SIGKILL');
    await until('a generation of two', () => run.ranks().length === 2);
    workers.set('d', run.worker('d'));
    await until('step 12', () => run.step() >= 12);
    workers.get(run.ranks()[1]!)!.kill('SIGKILL');
    expect(await run.running.outcome).toMatchObject({ reason: 'done', step: 30 });
    const events = await expectLedger('killed');
    expect(events.filter((event) => event.type === 'fault' && /the stream of \w broke/.test(event.message))).toHaveLength(2);
    expect(difference(await alone, await lastWeights('killed'))).toBeLessThan(TOLERANCE);
  });

  it('names a slow worker with its phase, and gives it a smaller part of each batch', async () => {
    await using run = await begin('balanced', { maxWorkers: 2, balance: true }, { epochs: 2_000, batchSize: 12 });
    const [a, slow] = [run.worker('a'), run.worker('slow')];
    await until('step 3', () => run.step() >= 3);
    // It gets the processor for a third of the time.
    const stop = setInterval(() => {
      slow.kill('SIGSTOP');
      setTimeout(() => slow.kill('SIGCONT'), 60).unref();
    }, 90);
    try {
      await until('the slow one is named', () => /^slow: .* most of it in (data|forward|backward|optimizer) /.test(run.running.coordinator.describe().straggler));
      await until('its part is smaller', () => {
        const { generation } = run.running.coordinator.membership;
        return generation !== null && generation.members.length === 2 && generation.split[generation.members.indexOf('slow')]! < generation.split[generation.members.indexOf('a')]!;
      });
    } finally {
      clearInterval(stop);
      slow.kill('SIGCONT');
    }
    expect(run.running.coordinator.membership.generation!.reason).toMatch(/^shares follow speed: \d+, \d+ become /);
    run.running.coordinator.stop('the test says so');
    expect(await run.running.outcome).toMatchObject({ reason: 'interrupted' });
    expect(await Promise.all([a.ended, slow.ended])).toEqual([0, 0]);
    const steps = run.events.filter((event) => event.type === 'step');
    expect(new Set(steps.map(({ step }) => step)).size).toBe(steps.length);
  });

  it('goes on without a stopped process, and takes it in again when it wakes', async () => {
    await using run = await begin('stopped', { maxWorkers: 2 }, { epochs: 60 });
    const [a, b] = [run.worker('a'), run.worker('b')];
    await until('step 3', () => run.step() >= 3);
    b.kill('SIGSTOP');
    await until('one is left', () => run.ranks().join() === 'a');
    b.kill('SIGCONT');
    await until('two again', () => run.ranks().length === 2);
    expect(await run.running.outcome).toMatchObject({ reason: 'done' });
    expect(await Promise.all([a.ended, b.ended])).toEqual([0, 0]);
    await expectLedger('stopped', config({ epochs: 60 }));
  });

  it('is changed while it trains: all ranks take it at one step, and at the same step again after a worker was killed', async () => {
    const recipe = findRecipe('feature-extractor-bn-eval');
    await using run = await begin('changed', { maxWorkers: 2 }, { recipe, epochs: 15, schedule: { kind: 'constant' } });
    const workers = ['a', 'b'].map((id) => run.worker(id));
    await until('step 3', () => run.step() >= 3 && run.ranks().length === 2);
    using client = await openRunClient(`127.0.0.1:${run.running.port}`, { token: 'a token of the tests', tls: null });
    await client.setRate('', 'head', 0.0004);
    await client.unfreeze('');
    await until('both are taken', () => run.running.coordinator.parts.log.changeCount === 2);
    workers[run.ranks()[0] === 'a' ? 0 : 1]!.kill('SIGKILL');
    await until('one goes on', () => run.ranks().length === 1);
    expect(await run.running.outcome).toMatchObject({ reason: 'done', step: 45 });
    const events = await readEvents(join(folder.path, 'changed')), effective = effectiveEvents(events);
    const taken = effective.filter((event) => event.type === 'change').map(({ step, change }) => ({ step, change }));
    expect(taken.map(({ change }) => change.kind)).toEqual(['set-rate', 'unfreeze']);
    for (const again of events.filter((event) => event.type === 'change')) expect(taken).toContainEqual({ step: again.step, change: again.change });
    // The same changes at the same steps, on one rank that was never disturbed.
    const expected = await trainChanged(config({ recipe, epochs: 15, schedule: { kind: 'constant' } }), taken);
    const steps = effective.filter((event) => event.type === 'step');
    expect(steps.map(({ learningRates }) => learningRates)).toEqual(expected.map(({ learningRates }) => learningRates));
    expect(new Set(steps.map(({ learningRates }) => JSON.stringify(learningRates))).size).toBe(3);
    steps.forEach(({ loss }, i) => expect(loss).toBeCloseTo(expected[i]!.loss, 2));
  });

  it('lets a worker leave politely: no step is done twice', async () => {
    await using run = await begin('left', { maxWorkers: 2 });
    const [a, b] = [run.worker('a'), run.worker('b')];
    await until('step 4', () => run.step() >= 4);
    a.kill('SIGTERM');
    expect(await a.ended).toBe(0);
    expect(await run.running.outcome).toMatchObject({ reason: 'done' });
    expect(await b.ended).toBe(0);
    await expectLedger('left');
    expect(run.events.filter((event) => event.type === 'fault')).toEqual([]);
    expect(run.events.filter((event) => event.type === 'step')).toHaveLength(30);
  });

  it('stops with a checkpoint after the step at hand, and goes on from it', async () => {
    {
      await using run = await begin('cut', { maxWorkers: 2 });
      const workers = ['a', 'b'].map((id) => run.worker(id));
      await until('step 4', () => run.step() >= 4);
      run.running.coordinator.stop('the test says so');
      expect(await run.running.outcome).toMatchObject({ reason: 'interrupted' });
      expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0]);
    }
    const path = join(folder.path, 'cut');
    await using running = await startCoordinator({ resume: path }, options({ maxWorkers: 1 }), { backend: 'libtorch' }).then((one) => Object.assign(one, { [Symbol.asyncDispose]: () => one.close() }));
    startWorkerProcess({ coordinator: `127.0.0.1:${running.port}`, id: 'later', token: 'a token of the tests' });
    expect(await running.outcome).toMatchObject({ reason: 'done', step: 30 });
    await expectLedger('cut');
    expect(difference(await alone, await lastWeights('cut'))).toBeLessThan(TOLERANCE);
  });

  it('trains on while its coordinator is killed, and obeys the next one', async () => {
    const path = join(folder.path, 'orphaned'), listen = `127.0.0.1:${await freePort('127.0.0.1')}`;
    const given = options({ listen, maxWorkers: 2 });
    const first = startCoordinatorProcess({ config: config({ epochs: 20 }), out: folder.path, path }, given);
    const workers = ['a', 'b'].map((id) => startWorkerProcess({ coordinator: listen, id, token: 'a token of the tests' }));
    await until('step 4', () => first.facts().some((event) => event.type === 'step' && event.step >= 4));
    first.kill('SIGKILL');
    await first.ended;
    const second = startCoordinatorProcess({ resume: path }, given);
    expect(await second.ended).toBe(0);
    expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0]);
    const events = await expectLedger('orphaned', config({ epochs: 20 }));
    expect(effectiveEvents(events).filter((event) => event.type === 'generation')).toHaveLength(1);
  });
});
