import { memory, tensor } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { Parameter } from '../parameter.js';
import { randomStream } from '../random.js';
import { type TestBackend, useBackend } from '../testing/engine.js';
import { hasTorch, torch } from '../testing/torch.js';
import { Adam } from './adam.js';
import type { Optimizer } from './optimizer.js';
import { Sgd } from './sgd.js';

const STEPS = 20;
const SHAPES = [[3, 4], [5], [2, 2, 3]];
const SIZES = SHAPES.map((shape) => shape.reduce((product, size) => product * size, 1));

const normals = (count: number, ...key: (string | number)[]): number[] => {
  const random = randomStream(...key);
  return Array.from({ length: count }, () => Math.fround(random.normal()));
};
const firstValues = SIZES.map((count, i) => normals(count, 'values', i));
/** By step and parameter. The last parameter has no gradient in the first 5 steps: it is unfrozen later. */
const gradients = Array.from({ length: STEPS }, (_, step) => SIZES.map((count, i) => (i === 2 && step < 5 ? null : normals(count, 'gradient', step, i))));
const rateAt = (step: number) => 0.05 / (1 + step / 10);

interface Subject { name: string; make: () => Optimizer; torch: string }

const SUBJECTS: Subject[] = [
  { name: 'Adam', make: () => new Adam(), torch: 'torch.optim.Adam(p)' },
  { name: 'Adam with weight decay', make: () => new Adam({ beta1: 0.8, beta2: 0.99, epsilon: 1e-6, weightDecay: 0.1 }), torch: 'torch.optim.Adam(p, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)' },
  { name: 'AdamW', make: () => new Adam({ weightDecay: 0.1, decoupled: true }), torch: 'torch.optim.AdamW(p, weight_decay=0.1)' },
  { name: 'SGD without momentum', make: () => new Sgd({ momentum: 0 }), torch: 'torch.optim.SGD(p, lr=1)' },
  { name: 'SGD with momentum and decay', make: () => new Sgd({ momentum: 0.9, weightDecay: 0.05 }), torch: 'torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=0.05)' },
  { name: 'SGD with dampening', make: () => new Sgd({ momentum: 0.9, dampening: 0.3 }), torch: 'torch.optim.SGD(p, lr=1, momentum=0.9, dampening=0.3)' },
  { name: "SGD with Nesterov's momentum", make: () => new Sgd({ momentum: 0.9, nesterov: true }), torch: 'torch.optim.SGD(p, lr=1, momentum=0.9, nesterov=True)' },
];

const REFERENCE = `
p = [torch.nn.Parameter(torch.tensor(v, dtype=torch.float32)) for v in given['values']]
optimizer = eval(given['optimizer'])
for rate, step in zip(given['rates'], given['gradients']):
    for q, g in zip(p, step): q.grad = None if g is None else torch.tensor(g, dtype=torch.float32)
    for group in optimizer.param_groups: group['lr'] = rate
    optimizer.step()
answer = [q.tolist() for q in p]
`;

/** The parameters after all steps; half-way the state goes through a copy, as a checkpoint does it. */
async function valuesAfter(backend: TestBackend, make: () => Optimizer): Promise<number[][]> {
  await useBackend(backend);
  const parameters = SHAPES.map((shape, i) => new Parameter(`p${i}`, tensor(firstValues[i]!, shape)));
  let optimizer = make();
  for (let step = 0; step < STEPS; step++) {
    if (step === 10) optimizer = resumed(optimizer, make);
    parameters.forEach((parameter, i) => gradients[step]![i] && parameter.accumulate(tensor(gradients[step]![i]!, SHAPES[i])));
    optimizer.step([{ name: 'a', learningRate: rateAt(step), parameters: parameters.slice(0, 1) }, { name: 'b', learningRate: rateAt(step), parameters: parameters.slice(1) }]);
    for (const parameter of parameters) parameter.clearGradient();
  }
  const values = parameters.map(({ value }) => [...value.dataSync()]);
  for (const owner of [...parameters, optimizer]) owner.dispose();
  expect(memory().numTensors).toBe(0);
  return values;
}

function resumed(old: Optimizer, make: () => Optimizer): Optimizer {
  const { tensors, steps } = old.state();
  const copies = new Map([...tensors].map(([name, t]) => [name, tensor(t.dataSync(), t.shape)]));
  old.dispose();
  const optimizer = make();
  optimizer.load(copies, steps);
  return optimizer;
}

const largestError = (a: number[][], b: number[][]) => Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i]![j]!))));

describe.each(SUBJECTS)('$name', ({ make, torch: expression }) => {
  it("changes parameters by libtorch's kernel as composed of TF.js's operators", async () => {
    expect(largestError(await valuesAfter('libtorch', make), await valuesAfter('cpu', make))).toBeLessThan(5e-6);
  });

  it.skipIf(!hasTorch)("changes parameters as PyTorch's does (skipped where python3 has no torch)", async () => {
    const expected = torch<unknown[]>(REFERENCE, { values: firstValues, gradients, rates: gradients.map((_, step) => rateAt(step)), optimizer: expression });
    expect(largestError(await valuesAfter('libtorch', make), expected.map((value) => value as number[]))).toBeLessThan(5e-6);
  });
});

describe('an optimizer', () => {
  it.each(SUBJECTS)('leaves what has no gradient or is frozen as it is, and keeps no state for it: $name', async ({ make }) => {
    await useBackend('libtorch');
    const [frozen, idle] = ['frozen', 'idle'].map((name) => new Parameter(name, tensor([1, 2])));
    frozen!.trainable = false;
    frozen!.accumulate(tensor([5, 5]));
    const optimizer = make();
    optimizer.step([{ name: 'all', learningRate: 1, parameters: [frozen!, idle!] }]);
    expect([frozen!, idle!].map(({ value }) => [...value.dataSync()])).toEqual([[1, 2], [1, 2]]);
    expect(optimizer.state()).toEqual({ tensors: new Map(), steps: {} });
    for (const owner of [frozen!, idle!, optimizer]) owner.dispose();
  });
});
