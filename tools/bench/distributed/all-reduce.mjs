import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median } from '../serve/statistics.mjs';
import { freePort, startProcess } from './processes.mjs';
import { rounded } from './rounded.mjs';

const MEGABYTES = 85;
const SUMS = 10;

/** Ours and torch.distributed's in turn, `SUMS` sums a round; medians in ms. */
export async function compareAllReduce({ rounds }) {
  const ours = await Promise.all([0, 1].map(() => startProcess('all-reduce-worker.mjs')));
  const times = { float32: [], bfloat16: [], torch: [] };
  try {
    const port = await freePort();
    await Promise.all(ours.map((worker, rank) => worker.call('open', { rank, port })));
    for (let round = 0; round < rounds; round++) {
      for (const wire of ['float32', 'bfloat16']) {
        const [ms] = await Promise.all(ours.map((worker) => worker.call('sum', { wire, length: (MEGABYTES * 1e6) / 4, sums: SUMS })));
        times[wire].push(ms);
      }
      times.torch.push(await torchMs());
    }
  } finally {
    for (const worker of ours) worker.stop();
  }
  const torch = times.torch.includes(null) ? {} : { torchMs: rounded(median(times.torch)) };
  return [
    { megabytes: MEGABYTES, wire: 'float32', oursMs: rounded(median(times.float32)), ...torch },
    { megabytes: MEGABYTES, wire: 'bfloat16', oursMs: rounded(median(times.bfloat16)) },
  ];
}

/** The median of as many sums by PyTorch's own, or null where Python has none. */
async function torchMs() {
  const port = await freePort();
  const script = fileURLToPath(new URL('all_reduce.py', import.meta.url));
  try {
    const [{ stdout }] = await Promise.all([0, 1].map((rank) => promisify(execFile)('/usr/bin/python3', [script, String(rank), '2', String(port), String(MEGABYTES), String(SUMS)], { timeout: 120_000 })));
    return JSON.parse(stdout).medianMs;
  } catch (error) {
    process.stderr.write(`torch.distributed was not measured: ${error.message}\n`);
    return null;
  }
}
