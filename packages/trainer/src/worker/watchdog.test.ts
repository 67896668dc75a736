import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startCoordinator } from '../coordinator/start.js';
import { readEvents } from '../run-directory.js';
import { endProcesses, startWorkerProcess, until } from '../testing/processes.js';
import { drawSmallDataset, smallConfig, startEngine, temporaryFolder } from '../testing/small-run.js';
import { timingOf } from '../timing.js';

beforeAll(startEngine);
afterEach(endProcesses);

const DETECTION_MS = 500;

/** What was built: a thread of its own runs no TypeScript. */
const ENGINE = new URL('../../../tfjs-libtorch/dist/index.js', import.meta.url).href;

/** The real engine, but for a sum that blocks its thread in the kernel once the file `hang` is there: no signal of JavaScript's reaches it. */
const hangingEngine = (pipe: string, hang: string): string => `
  import { existsSync, openSync } from 'node:fs';
  import { LibtorchBackend } from '${ENGINE}';
  export * from '${ENGINE}';
  const open = LibtorchBackend.prototype.openGroup;
  LibtorchBackend.prototype.openGroup = function (options) {
    const group = open.call(this, options), sum = group.sumNumbers.bind(group);
    group.sumNumbers = (values) => {
      if (existsSync(${JSON.stringify(hang)})) openSync(${JSON.stringify(pipe)}, 'r');
      return sum(values);
    };
    return group;
  };
`;

describe.skipIf(process.platform !== 'linux')('a worker whose exchange can’t be given up (on Linux)', { timeout: 120_000 }, () => {
  it('is ended by its watchdog, and another takes its place', async () => {
    await using folder = await temporaryFolder();
    await drawSmallDataset(join(folder.path, 'data'));
    const pipe = join(folder.path, 'pipe'), hang = join(folder.path, 'hang'), engine = join(folder.path, 'engine.mjs');
    execFileSync('mkfifo', [pipe]);
    await writeFile(engine, hangingEngine(pipe, hang));
    const running = await startCoordinator({ config: smallConfig(join(folder.path, 'data'), { epochs: 12 }), out: folder.path, path: join(folder.path, 'run') }, { listen: '127.0.0.1:0', security: { token: null, tls: null }, minWorkers: 1, maxWorkers: 2, detectionMs: DETECTION_MS, joinWindowMs: 10_000, maxFailures: 5, balance: false, exchange: 'gloo' }, { backend: 'libtorch' });
    try {
      const start = (id: string, module?: string) => startWorkerProcess({ coordinator: `127.0.0.1:${running.port}`, id, ...(module ? { engine: { module, backend: 'libtorch' } } : {}) });
      const stuck = start('stuck', pathToFileURL(engine).href), other = start('other');
      await until('both train', () => running.coordinator.parts.log.step >= 3);
      await writeFile(hang, '');
      // The other waits in the exchange now; with it gone the coordinator says that the generation is given up.
      const stepNow = () => running.coordinator.parts.log.step;
      for (let step = -1; step !== stepNow(); ) {
        step = stepNow();
        await new Promise((resolve) => setTimeout(resolve, 1_500));
      }
      const killedMs = performance.now();
      other.kill('SIGKILL');
      expect(await stuck.ended).not.toBe(0);
      const tookMs = performance.now() - killedMs, { watchdogMs } = timingOf(DETECTION_MS);
      expect(stuck.lines.join('\n')).toContain('this process kills itself');
      const faults = (await readEvents(running.path)).flatMap((event) => (event.type === 'fault' ? [event.message] : []));
      expect(faults.join('\n')).toContain('the exchange could not be given up, in the phase ');
      expect(tookMs).toBeGreaterThan(watchdogMs);
      expect(tookMs).toBeLessThan(watchdogMs + 20_000);
      start('third');
      expect(await running.outcome).toMatchObject({ reason: 'done' });
    } finally {
      await endProcesses();
      await running.close();
    }
  });
});
