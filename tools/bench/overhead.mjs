import { parseArgs } from 'node:util';
import { Adam, createClassifier, unfreeze } from '@chameleon/core';
import { setThreads } from '@chameleon/tfjs-libtorch';
import { alone } from '@chameleon/trainer';
import { setBackend } from '@tensorflow/tfjs-core';
import { trainStep } from '../../packages/trainer/dist/training-step.js';
import { facts } from './serve/facts.mjs';
import { publish } from './serve/results.mjs';
import { percentile } from './serve/statistics.mjs';

/** What a step costs beside its arithmetic: every operator of ResNet34's full step on one 1-pixel picture, in channels too few to matter. */

export const HELP = `Usage: npm run bench -- overhead [options]

A full training step of ResNet34's operators (36 convolutions, their BatchNorms, the head, Adam) with 4 channels instead of 64 on two
pictures of 1 pixel, one thread: what is left is TypeScript, TF.js's engine, the addon's calls and oneDNN's dispatch.

  --steps N    that are measured, after 50 that are not (default: 300)
  --json       print the results as JSON
  --to FILE    and write them there

Example: npm run bench -- overhead --json --to benchmarks/results/overhead.json
`;

const WIDTH = 4, ROWS = 2, WARM_STEPS = 50;

export async function main(args) {
  const { values } = parseArgs({ args, options: { steps: { type: 'string', default: '300' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false } } });
  if (values.help) return void process.stdout.write(HELP);
  const steps = Number(values.steps);
  if (!Number.isInteger(steps) || steps < 1) throw new Error(`--steps takes a whole number from 1, not ${values.steps}.`);
  await setBackend('libtorch');
  setThreads(1);
  const rows = [];
  for (const precision of ['bfloat16', 'float32']) rows.push(await measure(precision, steps));
  const results = { command: ['npm run bench -- overhead', ...args].join(' '), ...(await facts()), steps, rows };
  await publish(results, values, () => rows.map(({ precision, stepMs, p90Ms }) => `${precision.padEnd(9)} ${stepMs} ms a step, 90 % below ${p90Ms} ms\n`).join(''));
}

async function measure(precision, steps) {
  const model = createClassifier({ architecture: { name: 'resnet34w4', block: 'basic', layers: [3, 4, 6, 3], width: WIDTH }, classCount: 2, head: 'linear', seed: 1 });
  const optimizer = new Adam();
  try {
    unfreeze(model);
    const groups = [{ name: 'all', learningRate: 1e-4, parameters: model.parameters() }];
    const batch = { pixels: Float32Array.from({ length: ROWS * 3 }, (_, i) => Math.sin(i)), labels: Int32Array.of(0, 1), indices: Int32Array.of(0, 1), rows: ROWS, epoch: 0, globalBatch: ROWS };
    const settings = { precision, labelSmoothing: 0, clipNorm: null, accumulate: 1, seed: 1, imageSize: 1, syncBatchNorm: false };
    const times = [];
    for (let step = 0; step < WARM_STEPS + steps; step++) {
      const start = performance.now();
      await trainStep(batch, groups, { model, optimizer, exchange: alone, settings });
      if (step >= WARM_STEPS) times.push(performance.now() - start);
    }
    return { precision, stepMs: round(percentile(times, 0.5)), p90Ms: round(percentile(times, 0.9)) };
  } finally {
    model.dispose();
    optimizer.dispose();
  }
}

const round = (value) => Number(value.toFixed(2));
