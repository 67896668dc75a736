import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { libtorchVersion, memory, resetPeak, setThreads, useDevice } from '@chameleon/tfjs-libtorch';
import { StepBench, median } from '@chameleon/trainer';
import { setBackend } from '@tensorflow/tfjs-core';

/**
 * Chameleon's side of `npm run bench`: the trainer's own step. Answers the same calls as torch_worker.py, a line of JSON each.
 */
const megabytes = (field) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;

let baseline, device, bench;

const calls = {
  async build({ arch, kind, precision, batch, size, threads, device: wanted }) {
    device = wanted;
    useDevice(device);
    await setBackend('libtorch');
    setThreads(threads);
    globalThis.gc?.();
    // What importing costs is not the step's: memory counts from here.
    baseline = megabytes('VmRSS');
    if (device === 'cpu') writeFileSync('/proc/self/clear_refs', '5');
    else resetPeak();
    bench = new StepBench({ architecture: arch, kind, precision, batchSize: batch, imageSize: size });
    return { version: libtorchVersion(), threads };
  },
  /** Medians over the steps, in ms: of the whole, and of each phase. */
  async train({ steps }) {
    const { stepMs, phasesMs, loss } = await bench.run(steps);
    return { stepMs: median(stepMs), loss, phasesMs: Object.fromEntries(Object.entries(phasesMs).map(([phase, times]) => [phase, median(times)])) };
  },
  memory: () => ({ peakMiB: device === 'cpu' ? megabytes('VmHWM') - baseline : memory().peakBytes / 2 ** 20, processPeakMiB: megabytes('VmHWM') }),
};

const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
tell({ value: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const { name, ...options } = JSON.parse(line);
  try {
    tell({ value: await calls[name](options) });
  } catch (error) {
    tell({ error: error.message });
  }
}
