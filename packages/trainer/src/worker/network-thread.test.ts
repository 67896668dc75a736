import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { startCoordinator } from '../coordinator/start.js';
import { median } from '../median.js';
import { endProcesses, startWorkerProcess, until } from '../testing/processes.js';
import { drawSmallDataset, smallConfig, startEngine, temporaryFolder } from '../testing/small-run.js';
import { timingOf } from '../timing.js';

/** A real worker in a step of seconds, on one thread, as its coordinator hears it. */

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await startEngine();
  folder = await temporaryFolder();
  await drawSmallDataset(join(folder.path, 'data'), 40);
});
afterEach(endProcesses);
afterAll(() => folder[Symbol.asyncDispose]());

const DETECTION_MS = 1_200, ASKED = 25;
/** What a worker answers at once that never was in this generation. */
const NEVER = 4_000_000;

describe('the network thread of a worker in the middle of a long step', { timeout: 120_000 }, () => {
  it('answers within 50 ms, and its heartbeats come no later than that (medians)', async () => {
    const beats: { atMs: number; step: number; phase: string }[] = [];
    const config = smallConfig(join(folder.path, 'data'), { architecture: 'resnet50', imageSize: 128, batchSize: 64, epochs: 50 });
    const running = await startCoordinator({ config, out: folder.path, path: join(folder.path, 'long') }, { listen: '127.0.0.1:0', security: { token: null, tls: null }, minWorkers: 1, maxWorkers: 1, detectionMs: DETECTION_MS, maxFailures: 5, balance: false, exchange: 'gloo' }, { backend: 'libtorch', onHeartbeat: (_, { position, phase }) => beats.push({ atMs: performance.now(), step: position?.step ?? 0, phase }) });
    const heard = vi.spyOn(running.coordinator, 'receive');
    try {
      startWorkerProcess({ coordinator: `127.0.0.1:${running.port}`, id: 'only' });
      const computes = () => ['forward', 'backward'].includes(beats.at(-1)?.phase ?? '');
      await until('the worker computes', computes);
      const firstStep = beats.at(-1)!.step, from = beats.length, tookMs: number[] = [];
      for (let i = 0; i < ASKED; i++) {
        await until('the worker computes', computes);
        const generation = NEVER + i, answers = () => heard.mock.calls.some(([, message]) => message?.$case === 'ended' && message.value.generation === generation);
        const askedMs = performance.now();
        running.coordinator.sessions.get('only')!.link.send({ $case: 'abandon', value: { generation, reason: 'the test asks' } });
        while (!answers()) {
          if (performance.now() - askedMs > 20_000) throw new Error('the worker never answered');
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        tookMs.push(performance.now() - askedMs);
        await new Promise((resolve) => setTimeout(resolve, 170));
      }
      // One step takes many times as long as an answer may: it was asked in the middle of some.
      const steps = beats.at(-1)!.step - firstStep, secondsEach = (beats.at(-1)!.atMs - beats[from - 1]!.atMs) / 1000 / Math.max(1, steps);
      expect(secondsEach).toBeGreaterThan(0.5);
      const lateMs = beats.slice(from).map(({ atMs }, i) => atMs - beats[from + i - 1]!.atMs - timingOf(DETECTION_MS).heartbeatMs);
      expect(median(tookMs), `answers took ${tookMs.map(Math.round).join(', ')} ms`).toBeLessThan(50);
      expect(median(lateMs), `heartbeats were late by ${lateMs.map(Math.round).join(', ')} ms`).toBeLessThan(50);
    } finally {
      await endProcesses();
      await running.close();
    }
  });
});
