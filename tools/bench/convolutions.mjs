import { parseArgs } from 'node:util';
import { setThreads, useFusion } from '@chameleon/tfjs-libtorch';
import { dispose, engine, randomNormal, relu, setBackend, tidy, zeros } from '@tensorflow/tfjs-core';
import { facts } from './serve/facts.mjs';
import { publish } from './serve/results.mjs';
import { median } from './serve/statistics.mjs';

/** Convolutions of 3 x 3 in bfloat16: with fewer multiplications beside directly, in time and in rounding. */

export const HELP = `Usage: npm run bench -- convolutions [options]

ResNet34's convolutions of 3 x 3 with stride 1 in bfloat16, and both of their gradients: by ATen directly (as with CHAMELEON_FUSION=off) and
by Winograd's F(2 x 2, 3 x 3), in turns; and how far each is from float32's, |a - b| / |b|, on pictures after ReLU and random filters.

  --batch N      pictures (default: 16)
  --threads N    (default: 2)
  --turns N      of each (default: 9)
  --json         print the results as JSON
  --to FILE      and write them there

Example: npm run bench -- convolutions --json --to benchmarks/results/convolutions.json
`;

const LAYERS = [{ side: 56, channels: 64 }, { side: 28, channels: 128 }, { side: 14, channels: 256 }, { side: 7, channels: 512 }];
const KEPT_BYTES = 256 << 20;
const OPTIONS = { batch: { type: 'string', default: '16' }, threads: { type: 'string', default: '2' }, turns: { type: 'string', default: '9' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false } };

export async function main(args) {
  const { values } = parseArgs({ args, options: OPTIONS });
  if (values.help) return void process.stdout.write(HELP);
  const [batch, threads, turns] = ['batch', 'threads', 'turns'].map((name) => Number(values[name]));
  if (![batch, threads, turns].every((value) => Number.isInteger(value) && value > 0)) throw new Error('--batch, --threads and --turns take whole numbers from 1.');
  await setBackend('libtorch');
  setThreads(threads);
  // In a step the allocator keeps far more memory than a convolution takes; so it does after this.
  dispose(zeros([KEPT_BYTES / 4]));
  const rows = LAYERS.flatMap((layer) => measureLayer(layer, batch, turns));
  const results = { command: ['npm run bench -- convolutions', ...args].join(' '), ...(await facts()), batch, threads, turns, rows };
  await publish(results, values, () => rows.map(({ side, channels, what, directMs, fewerMs, ratio, directError, fewerError }) => `${`${side} px, ${channels} channels, ${what}`.padEnd(45)} ${directMs} → ${fewerMs} ms (${ratio} times as fast), rounding ${directError} → ${fewerError}\n`).join(''));
}

const run = (name, inputs, attributes) => engine().runKernel(name, inputs, attributes);

function measureLayer({ side, channels }, batch, turns) {
  const filterShape = [3, 3, channels, channels], inputShape = [batch, side, side, channels], conv = { strides: 1, pad: 1, dataFormat: 'NHWC', dilations: 1 };
  const rounded = (x) => run('ToPrecision', { x }, { precision: 'bfloat16' }), wide = (x) => run('ToPrecision', { x }, { precision: 'float32' });
  const given = tidy(() => ({ x: rounded(relu(randomNormal(inputShape, 0, 1, 'float32', 1))), dy: rounded(randomNormal(inputShape, 0, 1, 'float32', 2)), filter: randomNormal(filterShape, 0, Math.sqrt(2 / (9 * channels)), 'float32', 3) }));
  const calls = {
    forward: ({ x, filter }) => run('Conv2D', { x, filter }, conv),
    "the input's gradient": ({ dy, filter }) => run('Conv2DBackpropInput', { dy, filter }, { ...conv, inputShape }),
    "the filter's gradient": ({ x, dy }) => run('Conv2DBackpropFilter', { x, dy }, { ...conv, filterShape }),
  };
  const rows = Object.entries(calls).map(([what, call]) => {
    const exact = tidy(() => call({ x: wide(given.x), dy: wide(given.dy), filter: given.filter }).dataSync());
    const errorOf = (fusion) => {
      useFusion(fusion);
      return relative(tidy(() => call(given).dataSync()), exact);
    };
    const timeOf = (fusion) => {
      useFusion(fusion);
      const start = performance.now();
      dispose(call(given));
      return performance.now() - start;
    };
    const errors = [errorOf(false), errorOf(true)];
    const pairs = Array.from({ length: turns }, (_, turn) => (turn % 2 === 0 ? [timeOf(false), timeOf(true)] : [timeOf(true), timeOf(false)].reverse()));
    const [direct, fewer] = [0, 1].map((i) => median(pairs.map((pair) => pair[i])));
    return { side, channels, what, directMs: digits(direct), fewerMs: digits(fewer), ratio: digits(median(pairs.map(([a, b]) => a / b))), directError: digits(errors[0]), fewerError: digits(errors[1]) };
  });
  useFusion(true);
  dispose(given);
  return rows;
}

/** |a - b| / |b|. */
function relative(a, b) {
  let difference = 0, size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

const digits = (value) => Number(value.toPrecision(3));
