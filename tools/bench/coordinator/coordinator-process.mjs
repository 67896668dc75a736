import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findRecipe } from '@chameleon/core';
import { drawDataset } from '@chameleon/data';
import { parseConfig, startCoordinator } from '@chameleon/trainer';
import { decide } from '../../../packages/trainer/dist/membership/decide.js';
import { serveCalls } from '../distributed/processes.mjs';

let coordinator;

serveCalls({
  /** A run of which no picture is ever read: the workers compute nothing. */
  async start({ folder, workers }) {
    const data = join(folder, 'data');
    await drawDataset(data, { count: 20, size: 32, seed: 1 });
    const config = parseConfig({ data, weights: 'random', architecture: 'resnet16w32', recipe: findRecipe('discriminative'), epochs: 2, batchSize: 2 * workers, imageSize: 32 });
    const options = { listen: '127.0.0.1:0', security: { token: null, tls: null }, minWorkers: 1, maxWorkers: workers, detectionMs: 10_000, maxFailures: 3, balance: false, exchange: 'grpc' };
    const running = await startCoordinator({ config, out: folder }, options, { backend: 'none' });
    coordinator = running.coordinator;
    return { port: running.port };
  },
  /** What this process takes of a core while it holds the workers. */
  async load({ seconds }) {
    const before = process.cpuUsage(), start = performance.now();
    await sleep(1_000 * seconds);
    const { user, system } = process.cpuUsage(before);
    return { coreShare: (user + system) / 1_000 / (performance.now() - start), residentMiB: process.memoryUsage().rss / 2 ** 20 };
  },
  /** How long a decision takes about the members as they are, and one about who is in the next generation: ms each. */
  decide({ times }) {
    const { membership, parts } = coordinator;
    const states = [membership, { ...membership, generation: null, members: membership.members.map((member) => ({ ...member, state: 'waiting', inMemory: true })) }];
    return Array.from({ length: times }, (_, i) => {
      const start = performance.now();
      decide(start, states[i % states.length], parts.membership);
      return performance.now() - start;
    });
  },
});
