import { memory, tensor } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { Parameter } from '../parameter.js';
import { useBackend } from '../testing/engine.js';
import { hasTorch, torch } from '../testing/torch.js';
import { clipGradients } from './clip.js';

const parametersWith = (gradients: (number[] | null)[]) => gradients.map((gradient, i) => {
  const parameter = new Parameter(`p${i}`, tensor(gradient?.map(() => 0) ?? [0]));
  if (gradient) parameter.accumulate(tensor(gradient));
  return parameter;
});
const gradientsOf = (parameters: Parameter[]) => parameters.map(({ gradient }) => gradient && [...gradient.dataSync()]);
const release = (parameters: Parameter[]) => {
  for (const parameter of parameters) parameter.dispose();
  expect(memory().numTensors).toBe(0);
};

describe.each(['cpu', 'libtorch'] as const)('clipping gradients on %s', (backend) => {
  it('scales all of them together to the norm, and gives the norm before', async () => {
    await useBackend(backend);
    const parameters = parametersWith([[3, 0], null, [0, 4]]);
    expect(clipGradients(parameters, 1)).toBeCloseTo(5, 5);
    const [a, none, b] = gradientsOf(parameters);
    expect(none).toBeNull();
    [...a!, ...b!].forEach((value, i) => expect(value).toBeCloseTo([0.6, 0, 0, 0.8][i]!, 5));
    release(parameters);
  });

  it('leaves them bit for bit where the norm is small enough, and where there are none', async () => {
    await useBackend(backend);
    const parameters = parametersWith([[0.3, 0.4]]);
    const { gradient } = parameters[0]!;
    expect(clipGradients(parameters, 1)).toBeCloseTo(0.5, 5);
    expect(parameters[0]!.gradient).toBe(gradient);
    release(parameters);
    const zero = parametersWith([[0, 0], null]);
    expect(clipGradients(zero, 1)).toBe(0);
    expect(clipGradients(parametersWith([]), 1)).toBe(0);
    release(zero);
  });

  it('says so when a gradient is no number', async () => {
    await useBackend(backend);
    const parameters = parametersWith([[1, Number.NaN], [2]]);
    expect(clipGradients(parameters, 1)).toBeNaN();
    expect(gradientsOf(parameters).flat().every(Number.isNaN)).toBe(true);
    release(parameters);
  });

  it('refuses a norm that is not above 0', () => {
    expect(() => clipGradients([], 0)).toThrow(RangeError);
    expect(() => clipGradients([], Number.NaN)).toThrow(RangeError);
  });

  it.skipIf(!hasTorch)('gives what torch.nn.utils.clip_grad_norm_ gives (skipped where python3 has no torch)', async () => {
    await useBackend(backend);
    const gradients = [[0.5, -2, 3.25], [1e-3], [7, -7]];
    const script = `
p = [torch.nn.Parameter(torch.zeros(len(g))) for g in given]
for q, g in zip(p, given): q.grad = torch.tensor(g, dtype=torch.float32)
norm = float(torch.nn.utils.clip_grad_norm_(p, 2.5))
answer = [norm, [q.grad.tolist() for q in p]]
`;
    const [norm, clipped] = torch<[number, number[][]]>(script, gradients);
    const parameters = parametersWith(gradients);
    expect(clipGradients(parameters, 2.5)).toBeCloseTo(norm, 5);
    gradientsOf(parameters).forEach((values, i) => values!.forEach((value, j) => expect(value).toBeCloseTo(clipped[i]![j]!, 6)));
    release(parameters);
  });
});
