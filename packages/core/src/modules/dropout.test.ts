import { memory, ones } from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Tape, inference } from '../tape.js';
import { useBackend } from '../testing/engine.js';
import { Dropout } from './dropout.js';

beforeAll(() => useBackend('libtorch'));
afterEach(() => expect(memory().numTensors).toBe(0));

const FEATURES = 200;
const keys = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => [7, 0, from + i]);
const training = (rowKeys: (string | number)[][], tape: Tape | null = null) => ({ tape, training: true, precision: 'float32' as const, rowKeys });

function maskOf(layer: Dropout, from: number, to: number): number[] {
  const x = ones([to - from, FEATURES]), y = layer.forward(x, training(keys(from, to)));
  const values = [...y.dataSync()];
  x.dispose();
  y.dispose();
  return values;
}

describe('dropout', () => {
  it('drops its rate and scales what stays, so that the mean stays', () => {
    const values = maskOf(new Dropout('fc.3', 0.25), 0, 40);
    expect(new Set(values.map((value) => value.toFixed(6)))).toEqual(new Set(['0.000000', '1.333333']));
    expect(values.filter((value) => value === 0).length / values.length).toBeCloseTo(0.25, 1);
  });

  it("gives a row the same mask whoever computes it: slices of a batch are the whole batch's", () => {
    const layer = new Dropout('fc.3', 0.5), whole = maskOf(layer, 0, 6);
    expect([...maskOf(layer, 0, 2), ...maskOf(layer, 2, 5), ...maskOf(layer, 5, 6)]).toEqual(whole);
    expect(maskOf(layer, 0, 1)).not.toEqual(maskOf(layer, 1, 2));
    expect(maskOf(new Dropout('fc.7', 0.5), 0, 6)).not.toEqual(whole);
  });

  it('sends the gradient through what stayed', () => {
    const layer = new Dropout('fc.3', 0.5), tape = new Tape(true), x = ones([3, FEATURES]);
    const y = layer.forward(x, training(keys(0, 3), tape)), dx = tape.walk(ones([3, FEATURES]))!;
    expect([...dx.dataSync()]).toEqual([...y.dataSync()]);
    for (const t of [x, y, dx]) t.dispose();
  });

  it('does nothing outside training, and needs a key for each row within', () => {
    const layer = new Dropout('fc.3', 0.5), x = ones([2, FEATURES]), y = layer.forward(x, inference('float32'));
    expect([...y.dataSync()]).toEqual([...x.dataSync()]);
    expect(() => layer.forward(x, training(keys(0, 1)))).toThrow('a key for each row');
    for (const t of [x, y]) t.dispose();
  });
});
