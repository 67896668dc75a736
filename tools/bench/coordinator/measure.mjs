import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startProcess } from '../distributed/processes.mjs';
import { rounded } from '../distributed/rounded.mjs';
import { median } from '../serve/statistics.mjs';

/** The coordinator in one process, the workers' streams in another. */
export async function measureCoordinator({ workers, seconds, rounds }) {
  const folder = await mkdtemp(join(tmpdir(), 'chameleon-bench-'));
  const coordinator = await startProcess('../coordinator/coordinator-process.mjs');
  const crowd = await startProcess('../coordinator/crowd.mjs');
  try {
    const { port } = await coordinator.call('start', { folder, workers });
    await crowd.call('join', { port, workers });
    await sleep(3_000);
    const load = await coordinator.call('load', { seconds });
    const decisions = await coordinator.call('decide', { times: 50 });
    const regroupMs = [];
    for (let round = 0; round < rounds; round++) {
      regroupMs.push(await crowd.call('kill'));
      await sleep(1_500);
    }
    return {
      coreShare: rounded(load.coreShare, 3), residentMiB: Math.round(load.residentMiB),
      decisionMs: spread(decisions), regroupMs: spread(regroupMs),
    };
  } finally {
    crowd.stop();
    coordinator.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const spread = (values) => ({ median: rounded(median(values), 2), longest: rounded(Math.max(...values), 2) });
