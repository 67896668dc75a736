import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findRecipe } from '@chameleon/core';
import { drawDataset } from '@chameleon/data';
import { DEFAULT_DETECTION_MS, parseConfig, startCoordinator } from '@chameleon/trainer';
import { median } from '../serve/statistics.mjs';
import { rounded } from './rounded.mjs';

const PROGRAM = fileURLToPath(new URL('../../../packages/cli/bin/chameleon.js', import.meta.url));
const WORLD = 3;
const PATIENCE_MS = 60_000;

/**
 * From `kill -9` of a worker to the next step that the survivors apply, as the coordinator writes it down: three workers of a thread each, the
 * small ResNet, everything by default. Each rank is killed in turn; another worker takes the place before the next kill.
 */
export async function measureRecovery({ kills }) {
  const folder = await mkdtemp(join(tmpdir(), 'chameleon-bench-'));
  const workers = new Map();
  let onFact = () => undefined, started = 0, running = null;
  try {
    await drawDataset(join(folder, 'data'), { count: 120, size: 80, seed: 1 });
    const config = parseConfig({ data: join(folder, 'data'), architecture: 'resnet16w32', imageSize: 64, batchSize: 12, epochs: 10_000, recipe: findRecipe('discriminative') });
    running = await startCoordinator({ config, out: folder }, { listen: '127.0.0.1:0', security: { token: null, tls: null }, minWorkers: 1, maxWorkers: WORLD, detectionMs: DEFAULT_DETECTION_MS, maxFailures: 1000, balance: false, exchange: 'gloo' }, { backend: 'libtorch', observe: (fact) => onFact(fact) });
    const add = () => {
      const id = `worker-${started++}`;
      workers.set(id, spawn(process.execPath, [PROGRAM, 'worker', '--coordinator', `127.0.0.1:${running.port}`, '--id', id, '--threads', '1', '--loader-threads', '1'], { stdio: 'ignore', env: { ...process.env, OMP_NUM_THREADS: '1' } }));
    };
    const until = (holds) => new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the run did not go on within a minute')), PATIENCE_MS);
      onFact = (fact) => {
        if (!holds(fact)) return;
        clearTimeout(timer);
        resolve(performance.now());
      };
    });
    /** The generation has all places taken and has done a few steps. */
    const settled = () => {
      let members = 0, steps = 0;
      return until((fact) => {
        if (fact.type === 'generation') [members, steps] = [fact.workers.length, 0];
        return fact.type === 'step' && members === WORLD && ++steps >= 5;
      });
    };
    let ready = settled();
    for (let i = 0; i < WORLD; i++) add();
    const times = [];
    for (let kill = 0; kill < kills; kill++) {
      await ready;
      const victim = running.coordinator.membership.generation.members[kill % WORLD];
      let began = false;
      const applied = until((fact) => {
        began ||= fact.type === 'generation';
        return began && fact.type === 'step';
      });
      const killed = performance.now();
      workers.get(victim).kill('SIGKILL');
      workers.delete(victim);
      times.push((await applied) - killed);
      if (times.length === kills) break;
      ready = settled();
      add();
    }
    return { kills, workers: WORLD, detectionMs: DEFAULT_DETECTION_MS, medianMs: rounded(median(times)), slowestMs: rounded(Math.max(...times)), timesMs: times.map((ms) => rounded(ms, 0)) };
  } finally {
    for (const worker of workers.values()) worker.kill('SIGKILL');
    await running?.close();
    await rm(folder, { recursive: true, force: true });
  }
}
