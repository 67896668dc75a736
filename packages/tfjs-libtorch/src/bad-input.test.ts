import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { addon } from './addon.js';
import { ownCases, publicCases } from './conformance/suite.js';
import { memory, useDevice } from './index.js';
import { BACKEND_NAME } from './kernel.js';

interface Call { name: string; inputs: Record<string, unknown>; attributes: object }
type Mutation = (x: tf.Tensor) => tf.Tensor;

/** What might be given in place of a tensor that fits. A disposed tensor is given as it was. */
const MUTATIONS: [what: string, mutate: Mutation][] = [
  ['of another dtype', (x) => (x.dtype === 'complex64' ? tf.real(x) : tf.cast(x, x.dtype === 'float32' ? 'int32' : 'float32'))],
  ['of bool', (x) => tf.cast(tf.zeros(x.shape), 'bool')],
  ['of no elements', (x) => tf.zeros([...x.shape.slice(0, -1), 0], x.dtype === 'complex64' ? 'float32' : x.dtype)],
  ['of rank 0', () => tf.scalar(3)],
  ['of a rank more', (x) => tf.ones([...x.shape, 2])],
  ['one longer along each axis', (x) => tf.ones(x.shape.map((n) => n + 1))],
  ['of infinities', (x) => tf.fill(x.shape, Infinity)],
  ['that was disposed', (x) => { const copy = tf.add(tf.zeros(x.shape), 1); copy.dispose(); return copy; }],
];

/** Inputs whose shape alone is asked for. */
const UNREAD = new Set(['MaxPoolGrad, output', 'MaxPool3DGrad, output', 'ResizeBilinearGrad, images', 'ResizeNearestNeighborGrad, images']);

const isTensor = (x: unknown): x is tf.Tensor => x instanceof tf.Tensor;

/** A few calls of each kernel, as the conformance suite makes them, with inputs that stay. */
function callsOfTheSuite(): Call[] {
  const calls: Call[] = [], kernels = tf.getKernelsForBackend(BACKEND_NAME);
  const keep = (value: unknown): unknown => (Array.isArray(value) ? value.map(keep) : isTensor(value) ? tf.keep(tf.clone(value)) : value);
  const engine = tf.engine(), original = engine.runKernel.bind(engine);
  const spy = ((name: string, inputs: Record<string, unknown>, attributes: object) => {
    const result = original(name, inputs as tf.NamedTensorMap, attributes as tf.NamedAttrMap), given = Object.values(inputs).flat();
    const wanted = !['Identity', 'Cast'].includes(name) && calls.filter((call) => call.name === name).length < 2 && kernels.some(({ kernelName }) => kernelName === name);
    if (wanted && given.length > 0 && given.every((x) => x === undefined || isTensor(x))) {
      // Copies are made by kernels too, which are not to be noted.
      engine.runKernel = original;
      calls.push({ name, inputs: Object.fromEntries(Object.entries(inputs).map(([key, x]) => [key, keep(x)])), attributes });
      engine.runKernel = spy;
    }
    return result;
  }) as typeof original;
  engine.runKernel = spy;
  for (const { run } of [...publicCases, ...ownCases]) tf.dispose(run());
  engine.runKernel = original;
  return calls;
}

let calls: Call[];
beforeAll(async () => {
  expect(await tf.setBackend(BACKEND_NAME)).toBe(true);
  calls = callsOfTheSuite();
});

describe('a kernel that is given a tensor', () => {
  it.each(MUTATIONS)('%s gives a result or an error with its name, and leaves nothing behind', (what, mutate) => {
    expect(new Set(calls.map(({ name }) => name)).size).toBeGreaterThan(120);
    const complaints: string[] = [];
    for (const { name, inputs, attributes } of calls) {
      for (const key of Object.keys(inputs).filter((k) => isTensor(inputs[k]))) {
        const before = memory().tensors;
        tf.tidy(() => {
          const mutated = mutate(inputs[key] as tf.Tensor);
          try {
            tf.engine().runKernel(name, { ...inputs, [key]: mutated } as tf.NamedTensorMap, attributes as tf.NamedAttrMap);
            if (what === 'that was disposed' && !UNREAD.has(`${name}, ${key}`)) complaints.push(`${name}, ${key}: computes with a tensor that was disposed`);
          } catch (error) {
            if (!(error instanceof Error) || !error.message.startsWith(`${name}(`)) complaints.push(`${name}, ${key}: ${String(error)}`);
          }
        });
        if (memory().tensors !== before) complaints.push(`${name}, ${key}: ${memory().tensors - before} tensors left`);
      }
    }
    expect(complaints).toEqual([]);
  });
});

describe('what is not there', () => {
  it.skipIf(addon().hasCuda())('a CUDA device (where there is none) is an error with what mends it, and the processor goes on', () => {
    expect(() => useDevice('cuda')).toThrow(/can't use a CUDA device: .*setup\.mjs --engine pip/);
    expect(() => addon().useDevice('mps')).toThrow(/on cpu or cuda, not on mps/);
    expect(() => addon().useDevice('gpu')).toThrow(/cpu/);
    useDevice('cpu');
    expect([...tf.tidy(() => tf.add(tf.ones([2]), 1)).dataSync()]).toEqual([2, 2]);
  });

  const load = (path: string) => {
    const index = new URL('../dist/index.js', import.meta.url).href;
    const script = `import(${JSON.stringify(index)}).then((m) => m.libtorchVersion()).catch((error) => console.log(error.message))`;
    return execFileSync(process.execPath, ['-e', script], { env: { ...process.env, CHAMELEON_ADDON: path }, encoding: 'utf8' });
  };
  it('the addon, or one that does not load, is an error with what mends it', () => {
    expect(load('/nowhere/tfjs_libtorch.node')).toBe('there is no /nowhere/tfjs_libtorch.node: libtorch was not set up. Run `node tools/setup.mjs`.\n');
    const folder = mkdtempSync(join(tmpdir(), 'chameleon-addon-')), broken = join(folder, 'broken.node');
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(broken, 'half an addon');
    expect(load(broken)).toMatch(/^\S+broken\.node can't be loaded \(.+\): its libtorch is gone, or is another than it was compiled for\. Run `node tools\/setup\.mjs`\.\n$/);
  });
});
