import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from './processes.mjs';
import { rounded } from './rounded.mjs';

/** PyTorch's DistributedDataParallel over Gloo on the same work and the same cores, for the record; nothing where Python has no torch. */
export async function measureDdp({ rounds, steps, pictures, precisions }) {
  const results = [];
  for (const precision of precisions) {
    const port = await freePort(), script = fileURLToPath(new URL('ddp.py', import.meta.url));
    const start = (rank) => promisify(execFile)('taskset', ['-c', String(rank), '/usr/bin/python3', script, ...[rank, 2, port, precision, pictures, steps, rounds].map(String)], { timeout: 280_000, env: { ...process.env, OMP_NUM_THREADS: '1' } });
    try {
      const [{ stdout }] = await Promise.all([0, 1].map(start));
      const { oneMs, togetherMs } = JSON.parse(stdout);
      results.push({ precision, oneMs: rounded(oneMs), togetherMs: rounded(togetherMs), efficiency: rounded(oneMs / togetherMs, 3) });
    } catch (error) {
      process.stderr.write(`DistributedDataParallel was not measured: ${error.message}\n`);
    }
  }
  return results;
}
