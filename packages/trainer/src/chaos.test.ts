import { join } from 'node:path';
import { findRecipe } from '@chameleon/core';
import { openDataset, stepCount } from '@chameleon/data';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { effectiveEvents } from './events.js';
import { readEvents } from './run-directory.js';
import { type ChaosRun, type FaultKind, planChaos, runChaos } from './testing/chaos.js';
import { expectLedger } from './testing/ledger.js';
import { hasNamespaces, testHosts } from './testing/namespaces.js';
import { endProcesses } from './testing/processes.js';
import { drawSmallDataset, smallConfig, startEngine, surroundings, temporaryFolder } from './testing/small-run.js';
import { train } from './train.js';
import { freePort } from './worker/address.js';

/** Faults that follow from a seed, done to runs of real processes on the real engine. `CHAMELEON_CHAOS_SEED=n` replays one. */

const FULL = process.env['CHAMELEON_TEST_FULL'] === '1';
const SEED = Number(process.env['CHAMELEON_CHAOS_SEED'] ?? 20_261_125);
const TOKEN = 'a token of the chaos tests', DETECTION_MS = 1_000, STEPS_BETWEEN = 15;

let folder: Awaited<ReturnType<typeof temporaryFolder>>, trainCount: number;
beforeAll(async () => {
  await startEngine();
  folder = await temporaryFolder();
  await drawSmallDataset(join(folder.path, 'data'), 24);
  trainCount = (await openDataset(join(folder.path, 'data'))).train.length;
});
afterEach(endProcesses);
afterAll(() => folder[Symbol.asyncDispose]());

const config = (epochs: number) => smallConfig(join(folder.path, 'data'), { recipe: findRecipe('discriminative-bn-eval'), epochs, batchSize: 12, imageSize: 64, keepCheckpoints: 2 });

/** The plan of some faults, and a run long enough for it. */
function planned(name: string, counts: Partial<Record<FaultKind, number>>, workers: number): { run: Omit<ChaosRun, 'listen'>; plan: ReturnType<typeof planChaos> } {
  const plan = planChaos(SEED, counts, { firstStep: 5, gap: STEPS_BETWEEN, withinMs: 400 });
  // Twice what the plan names: the others train on while a lost one is replaced.
  const epochs = Math.ceil((2 * (5 + (plan.length + 1) * STEPS_BETWEEN)) / stepCount(trainCount, 12, false));
  const options = { security: { token: TOKEN, tls: null }, minWorkers: 1, maxWorkers: workers, detectionMs: DETECTION_MS, joinWindowMs: 8_000, maxFailures: 100, balance: false, exchange: 'gloo' as const };
  return { plan, run: { config: config(epochs), out: folder.path, path: join(folder.path, name), options, token: TOKEN, workers } };
}

async function expectUndisturbed(run: Pick<ChaosRun, 'config' | 'path'>): Promise<void> {
  const events = effectiveEvents(await readEvents(run.path));
  expectLedger(events, trainCount, run.config);
  const alone = await train(run.config, { out: folder.path, path: `${run.path}-alone` }, surroundings());
  const last = events.findLast((event) => event.type === 'epoch')!, undisturbed = (await readEvents(alone.path)).findLast((event) => event.type === 'epoch')!;
  expect(Math.abs(last.validAccuracy - undisturbed.validAccuracy)).toBeLessThanOrEqual(0.1);
  expect(Math.abs(last.trainLoss - undisturbed.trainLoss)).toBeLessThanOrEqual(0.1);
}

describe('a plan of faults', () => {
  it('follows from its seed, has as many of each kind as were asked for, and comes in order', () => {
    fc.assert(fc.property(fc.integer(), fc.record({ 'kill': fc.nat(9), 'stop': fc.nat(3), 'cut': fc.nat(3), 'kill-coordinator': fc.nat(5), 'kill-all': fc.nat(2) }), (seed, counts) => {
      const make = () => planChaos(seed, counts, { firstStep: 5, gap: 10, withinMs: 300 });
      const plan = make();
      expect(make()).toEqual(plan);
      for (const [kind, count] of Object.entries(counts)) expect(plan.filter((fault) => fault.kind === kind)).toHaveLength(count);
      plan.forEach(({ atStep, victim, afterMs }, i) => expect(atStep >= 5 + 10 * i && atStep < 15 + 10 * i && victim < 1 && afterMs < 300).toBe(true));
    }));
  });
});

describe(`a run that faults befall (seed ${SEED})`, { timeout: FULL ? 900_000 : 240_000 }, () => {
  const onOneHost = async (name: string, counts: Partial<Record<FaultKind, number>>, workers: number) => {
    const { run, plan } = planned(name, counts, workers);
    const { injected, unwell } = await runChaos({ ...run, listen: `127.0.0.1:${await freePort('127.0.0.1')}` }, plan);
    expect(injected).toEqual(plan);
    expect(unwell).toEqual([]);
    await expectUndisturbed(run);
  };

  it.skipIf(FULL)('ends as one that nothing befell: a killed worker, a stopped one, a killed coordinator', () => onOneHost('short', { 'kill': 2, 'stop': 1, 'kill-coordinator': 1 }, 2));
  it.runIf(FULL)('ends as one that nothing befell: 20 workers killed', () => onOneHost('kills', { kill: 20 }, 3));
  it.runIf(FULL)('ends as one that nothing befell: the coordinator killed 5 times, workers stopped and killed', () => onOneHost('coordinators', { 'kill-coordinator': 5, 'stop': 3, 'kill': 3 }, 3));
  it.runIf(FULL)('ends as one that nothing befell: everything killed at once, twice', () => onOneHost('all', { 'kill-all': 2, 'kill': 1 }, 3));

  it.skipIf(!hasNamespaces)('ends as one that nothing befell: hosts of their own, whose cables are cut', async () => {
    const { run, plan } = planned('cut', FULL ? { 'cut': 4, 'kill': 2, 'kill-coordinator': 1 } : { cut: 1 }, 2);
    using network = testHosts(3);
    const [coordinator, ...workers] = network.hosts;
    const { injected, unwell } = await runChaos({ ...run, listen: `${coordinator!.address}:50051`, hosts: { coordinator: coordinator!, workers } }, plan);
    expect(injected).toEqual(plan);
    expect(unwell).toEqual([]);
    await expectUndisturbed(run);
  });
});
