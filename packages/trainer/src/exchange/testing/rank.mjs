// One rank of the conformance suite, as a process of its own: does what its parent says, one call at a time or several at once, and answers.
// Plain JavaScript on what was built, for a forked process has no compiler.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { Parameter } from '@chameleon/core';
import { setThreads } from '@chameleon/tfjs-libtorch';
import { setBackend, tensor } from '@tensorflow/tfjs-core';
import { alone, openExchange } from '../../../dist/exchange/exchange.js';
import { trainTogether } from './train-together.mjs';

await setBackend('libtorch');
setThreads(1);
let exchange;
const given = new AbortController();

/** Numbers that differ between ranks, steps and places, and whose sums float32 holds exactly. */
const value = (rank, step, i) => ((i % 1000) - 500) * (rank + 1) + step;

/** One step: each parameter's gradient is made, announced and summed; the answer has the digest of all sums and how far they are from the right ones. */
async function step({ parameters, step, without = [], announced = true }) {
  const { rank, worldSize } = exchange;
  const made = parametersOf(parameters);
  for (const parameter of [...made].reverse()) {
    if (without.includes(rank)) continue;
    parameter.accumulate(tensor(Float32Array.from({ length: parameter.size }, (_, i) => value(rank, step, i)), parameter.shape));
    if (announced) exchange.gradientReady(parameter);
  }
  try {
    await exchange.sumGradients(made);
    return judged(made, worldSize, step, without);
  } finally {
    for (const parameter of all.values()) parameter.clearGradient();
  }
}

function judged(made, worldSize, step, without) {
  const digest = createHash('sha256');
  let error = 0;
  for (const parameter of made) {
    const sums = parameter.gradient.dataSync();
    digest.update(sums);
    for (let i = 0; i < sums.length; i++) {
      let right = 0;
      for (let r = 0; r < worldSize; r++) if (!without.includes(r)) right += value(r, step, i);
      error = Math.max(error, Math.abs(sums[i] - right) / Math.max(1, Math.abs(right)));
    }
  }
  return { digest: digest.digest('hex'), error };
}

const all = new Map();
function known(name, shape, layout) {
  if (!all.has(name)) all.set(name, new Parameter(name, tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape), layout));
  return all.get(name);
}

const parametersOf = (list) => list.map(({ name, shape, layout }) => known(name, shape, layout));
const pattern = (length) => Uint8Array.from({ length }, (_, i) => (i * 31) % 251);

const calls = {
  async open({ kind, options: { giveUpFile, ...options } }) {
    exchange = await openExchange(kind, { ...options, signal: given.signal, isGivenUp: () => giveUpFile !== undefined && existsSync(giveUpFile) });
    return { rank: exchange.rank, worldSize: exchange.worldSize };
  },
  step,
  numbers: ({ values }) => exchange.sumNumbers(values),
  /** Sums in the middle of a pass, between buckets that are on their way. */
  now({ values, step, parameters: list = [] }) {
    const made = parametersOf(list).map((parameter) => {
      parameter.accumulate(tensor(Float32Array.from({ length: parameter.size }, (_, i) => value(exchange.rank, step, i)), parameter.shape));
      exchange.gradientReady(parameter);
      return parameter;
    });
    const sums = exchange.sumNow(tensor(values.map((one) => one * (exchange.rank + 1))));
    const numbers = [...sums.dataSync()];
    sums.dispose();
    return exchange.sumGradients(made).then(() => {
      for (const parameter of made) parameter.clearGradient();
      return numbers;
    });
  },
  train: ({ onOneMachine = false, ...options }) => trainTogether(onOneMachine ? alone : exchange, options),
  async broadcast({ length, root }) {
    const bytes = await exchange.broadcast(exchange.rank === root ? pattern(length) : null, root);
    return { length: bytes.byteLength, digest: createHash('sha256').update(bytes).digest('hex') };
  },
  abort: ({ reason }) => exchange.abort(reason),
  abortOpening: ({ reason }) => given.abort(reason),
  close: () => exchange.close(),
};

process.on('message', async ({ id, call, args }) => {
  try {
    process.send({ id, value: await calls[call](args) });
  } catch (error) {
    process.send({ id, error: { name: error.name, message: error.message } });
  }
});
process.send({ id: 'ready' });
