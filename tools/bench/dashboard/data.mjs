import { createWriteStream } from 'node:fs';
import { link, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const built = (path) => fileURLToPath(new URL(`../../../packages/dashboard/dist/${path}`, import.meta.url));

/** A journal of the dashboard's as it would be after so many hours of scrapes: `seriesCount` workers' memory, every 5 s. */
export async function writeHistory(folder, { hours, seriesCount, intervalMs = 5_000, target }) {
  const { Journal } = await import(built('metrics/journal.js'));
  const { History } = await import(built('metrics/history.js'));
  const limits = { retentionMs: (hours + 1) * 3_600_000, maxBytes: 1e9 };
  const history = new History(limits), endMs = Date.now() - 2_000;
  const journal = await Journal.open(folder, limits, history, endMs);
  const ids = Array.from({ length: seriesCount }, (_, i) => history.idOf(target, { __name__: 'chameleon_worker_memory_bytes', worker: `worker-${String(i).padStart(2, '0')}`, job: 'chameleon', instance: 'simulated' }));
  let samples = 0;
  for (let timeMs = endMs - hours * 3_600_000; timeMs <= endMs; timeMs += intervalMs, samples++) {
    const values = ids.map((_, i) => 4e8 * (1 + 0.2 * Math.sin(samples / 900 + i) + 0.05 * noise(samples * seriesCount + i)));
    history.append(target, timeMs, ids, values);
    await journal.write(target, timeMs, history, ids, values);
  }
  await journal[Symbol.asyncDispose]();
  return samples * seriesCount;
}

/** Between 0 and 1, the same for the same number. */
function noise(n) {
  const x = Math.sin(n * 12.9898) * 43758.5453;
  return x - Math.floor(x);
}

const RUN = 'version: 0.1.0\nbackend: libtorch\nmachine:\n  cores: "2"\nconfig:\n  data: photos\n  architecture: resnet18\n  recipe:\n    name: discriminative\n  epochs: 1\n  learningRate: 0.001\n';
const stepText = (step, beganMs, seed) => `{"type":"step","time":"${new Date(beganMs + step * 100).toISOString()}","step":${step},"epoch":0,"loss":${(1 / (1 + step / 20_000) + 0.2 * noise(step + seed)).toFixed(4)},"correct":${Math.floor(16 * noise(step + seed + 1))},"pictures":16,"learningRates":{"head":0.001},"dataSeconds":0.01,"computeSeconds":0.1}\n`;

/** Runs of about so many steps, of several lengths; the files of several are one on the disk, for a million lines are 200 MB. */
export async function writeRuns(folder, { runCount, stepCount, fileCount }) {
  const beganMs = Date.now() - stepCount * 100;
  for (let run = 0; run < runCount; run++) {
    const path = join(folder, `run-${String(run).padStart(2, '0')}`);
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'run.yaml'), RUN);
    if (run >= fileCount) await link(join(folder, `run-${String(run % fileCount).padStart(2, '0')}`, 'events.jsonl'), join(path, 'events.jsonl'));
    else await writeSteps(join(path, 'events.jsonl'), stepCount - Math.floor((run * stepCount) / 50), beganMs, run * 1000);
  }
}

async function writeSteps(path, stepCount, beganMs, seed) {
  const file = createWriteStream(path);
  file.write(`${JSON.stringify({ type: 'start', time: new Date(beganMs).toISOString(), trainCount: 16, validCount: 4, classes: ['cat', 'dog'], stepCount, backend: 'libtorch' })}\n`);
  for (let step = 1; step <= stepCount; step += 1_000) {
    let text = '';
    for (let i = step; i < Math.min(step + 1_000, stepCount + 1); i++) text += stepText(i, beganMs, seed);
    if (!file.write(text)) await once(file, 'drain');
  }
  file.end(`${JSON.stringify({ type: 'finish', time: new Date(beganMs + stepCount * 100).toISOString(), step: stepCount, validAccuracy: 0.9, seconds: stepCount / 10, reason: 'done' })}\n`);
  await once(file, 'close');
}

/** A run that is under way, in so far as ten steps a second are added to its record until it is stopped. */
export async function beginRun(folder, id, stepCount) {
  const path = join(folder, id);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, 'run.yaml'), RUN);
  const file = createWriteStream(join(path, 'events.jsonl'), { flags: 'a' });
  file.write(`${JSON.stringify({ type: 'start', time: new Date().toISOString(), trainCount: 16, validCount: 4, classes: ['cat', 'dog'], stepCount, backend: 'libtorch' })}\n`);
  let step = 0;
  const timer = setInterval(() => file.write(stepText(++step, Date.now() - step * 100, 1)), 100);
  const stop = () => {
    clearInterval(timer);
    file.end();
  };
  return { get step() { return step; }, stop };
}
