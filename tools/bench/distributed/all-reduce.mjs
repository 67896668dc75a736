import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median } from '../serve/statistics.mjs';
import { CONNECTIONS_ALONE, freePort, startProcess } from './processes.mjs';
import { rounded } from './rounded.mjs';

const MEGABYTES = 85;
const SUMS = 10;
const run = promisify(execFile);
const beside = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Ours by the other's memory and over a connection, a bare program's on c10d, and torch.distributed's in turn, `SUMS` sums a round; medians in ms. What can't be had here is left out. */
export async function compareAllReduce({ rounds }) {
  const folder = await mkdtemp(join(tmpdir(), 'chameleon-bench-'));
  const ways = { memory: await pair({}), connections: await pair(CONNECTIONS_ALONE) };
  const times = { bare: [], torch: [], ...Object.fromEntries(Object.keys(ways).map((way) => [way, { float32: [], bfloat16: [] }])) };
  try {
    const bare = await orNull('the bare c10d program', () => buildBare(folder));
    for (let round = 0; round < rounds; round++) {
      for (const [way, workers] of Object.entries(ways)) {
        for (const wire of ['float32', 'bfloat16']) {
          const [ms] = await Promise.all(workers.map((worker) => worker.call('sum', { wire, length: (MEGABYTES * 1e6) / 4, sums: SUMS })));
          times[way][wire].push(ms);
        }
      }
      times.bare.push(bare && (await orNull('the bare c10d program', () => medianOf(bare, []))));
      times.torch.push(await orNull('torch.distributed', () => medianOf('/usr/bin/python3', [beside('all_reduce.py')])));
    }
  } finally {
    for (const worker of Object.values(ways).flat()) worker.stop();
    await rm(folder, { recursive: true });
  }
  const others = Object.fromEntries([['bareC10dMs', times.bare], ['torchMs', times.torch]].filter(([, ms]) => !ms.includes(null)).map(([name, ms]) => [name, rounded(median(ms))]));
  return ['float32', 'bfloat16'].map((wire) => ({ megabytes: MEGABYTES, wire, oursMs: rounded(median(times.memory[wire])), connectionsMs: rounded(median(times.connections[wire])), ...(wire === 'float32' ? others : {}) }));
}

/** Two ranks that have met. */
async function pair(env) {
  const workers = await Promise.all([0, 1].map(() => startProcess('all-reduce-worker.mjs', { env })));
  const port = await freePort();
  await Promise.all(workers.map((worker, rank) => worker.call('open', { rank, port })));
  return workers;
}

/** Against Debian's libtorch, as the set-up compiles the addon there. */
async function buildBare(folder) {
  const program = join(folder, 'c10d');
  await run('g++', ['-O2', '-std=c++17', '-Wno-deprecated-declarations', '-DUSE_C10D_GLOO', beside('c10d.cc'), '-o', program, '-ltorch', '-ltorch_cpu', '-lc10'], { timeout: 120_000 });
  return program;
}

/** The median of as many sums by two processes of a program that takes rank, world size, port, megabytes and rounds. */
async function medianOf(program, first) {
  const port = await freePort();
  const [{ stdout }] = await Promise.all([0, 1].map((rank) => run(program, [...first, ...[rank, 2, port, MEGABYTES, SUMS].map(String)], { timeout: 120_000 })));
  return JSON.parse(stdout).medianMs;
}

async function orNull(what, measure) {
  try {
    return await measure();
  } catch (error) {
    process.stderr.write(`${what} was not measured: ${error.message}\n`);
    return null;
  }
}
