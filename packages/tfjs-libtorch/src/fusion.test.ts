import { type NamedAttrMap, type NamedTensorMap, type Tensor, add, conv2d, engine, getKernel, memory, relu, setBackend, slice, tensor, tidy } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { useFusion } from './index.js';

const hasPacking = await setBackend('libtorch').then(() => {
  useFusion(true);
  return getKernel('PackedConv2D', 'libtorch') != null;
});
beforeAll(() => useFusion(true));
afterEach(() => expect(memory().numTensors).toBe(0));
afterAll(() => useFusion(true));

const runAll = (name: string, inputs: Record<string, Tensor>, attributes: object): Tensor[] => engine().runKernel(name, inputs as unknown as NamedTensorMap, attributes as NamedAttrMap) as Tensor[];
const run = (name: string, inputs: Record<string, Tensor>, attributes: object): Tensor => runAll(name, inputs, attributes) as unknown as Tensor;

/** Values between -1 and 1 that look like noise, the same each time. */
const values = (count: number, seed: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) * (seed + 1)) % 1);
const noise = (shape: number[], seed: number, { scale = 1, offset = 0 } = {}): Tensor => tensor(values(shape.reduce((a, b) => a * b, 1), seed).map((x) => scale * x + offset), shape);
const rounded = (x: Tensor): Tensor => run('ToPrecision', { x }, { precision: 'bfloat16' });
const far = (a: Tensor, b: Tensor): number => {
  const [u, v] = [a.dataSync(), b.dataSync()];
  return Math.max(...u.map((x, i) => Math.abs(x - v[i]!) / Math.max(1, Math.abs(v[i]!))));
};

const EPSILON = 1e-5;
const parametersOf = (channels: number) => ({ scale: noise([channels], 11, { offset: 0.5 }), shift: noise([channels], 12), mean: noise([channels], 13), variance: noise([channels], 14, { scale: 0.4, offset: 1 }) });

describe('BatchNorm with a sum and ReLU in one', () => {
  const cases = fc.record({ batch: fc.integer({ min: 1, max: 3 }), side: fc.integer({ min: 2, max: 9 }), channels: fc.constantFrom(1, 3, 16, 33, 64), training: fc.boolean(), sum: fc.boolean(), half: fc.boolean(), offset: fc.constantFrom(0, 30) });

  it('gives what BatchNorm, sum and ReLU give one after the other, forward and backward, in either precision', () => {
    fc.assert(fc.property(cases, ({ batch, side, channels, training, sum, half, offset }) => {
      const shape = [batch, side, side, channels], parameters = parametersOf(channels), options = { momentum: 0.1, epsilon: EPSILON };
      const given = [noise(shape, 1, { offset }), noise(shape, 2), noise(shape, 3)] as const;
      const [x, summand, dy] = half ? (given.map(rounded) as [Tensor, Tensor, Tensor]) : given;
      const tolerance = half ? 0.03 : 2e-4;

      const [normalized, ...statistics] = runAll('BatchNorm', { x, ...parameters }, { ...options, training });
      const total = sum ? add(normalized!, summand) : normalized!.clone(), expected = relu(total);
      const [y, ...moved] = runAll('BatchNormActivation', { x, ...parameters, ...(sum ? { summand } : {}) }, { ...options, training, relu: true, inPlace: false });
      expect(far(y!, expected)).toBeLessThan(tolerance);
      expect(moved).toHaveLength(statistics.length);
      moved.forEach((value, i) => expect(far(value, statistics[i]!)).toBeLessThan(2e-4));

      const saved = training ? { batchMean: statistics[0]!, inverseDeviation: statistics[1]! } : {};
      // ReLU's mask from our own output: on the other side of zero but for rounding there is no right answer.
      const masked = run('ReluBackward', { dy, y: y! }, {});
      const wanted = runAll('BatchNormBackward', { dy: masked, x, ...parameters, ...saved }, { training, epsilon: EPSILON, needsInput: true, needsParameters: true });
      const [dx, dScale, dShift, dSum] = runAll('BatchNormActivationBackward', { dy, x, ...(sum ? { y: y! } : {}), ...parameters, ...saved }, { epsilon: EPSILON, relu: true, needsInput: true, needsParameters: true, needsSum: sum });
      const sizes = Math.max(1, batch * side * side);
      expect(far(dx!, wanted[0]!)).toBeLessThan(half ? 0.05 : 1e-3);
      expect(far(dScale!, wanted[1]!)).toBeLessThan((half ? 0.02 : 1e-4) * sizes);
      expect(far(dShift!, wanted[2]!)).toBeLessThan((half ? 0.02 : 1e-4) * sizes);
      expect(dSum === undefined).toBe(!sum);
      if (dSum) expect(far(dSum, masked)).toBe(0);
      for (const t of new Set([...given, x, summand, dy, normalized!, ...statistics, total, expected, y!, ...moved, masked, ...wanted, dx!, dScale!, dShift!, ...(dSum ? [dSum] : []), ...Object.values(parameters)])) t.dispose();
    }), { numRuns: 60 });
  });

  it('makes its output of its input where it is told to', () => {
    const x = noise([2, 16, 16, 8], 1), parameters = parametersOf(8), attributes = { training: true, relu: true, momentum: 0.1, epsilon: EPSILON };
    const apart = runAll('BatchNormActivation', { x, ...parameters }, { ...attributes, inPlace: false });
    const before = (memory() as unknown as { liveBytes: number }).liveBytes;
    const inside = runAll('BatchNormActivation', { x, ...parameters }, { ...attributes, inPlace: true });
    expect((memory() as unknown as { liveBytes: number }).liveBytes - before).toBeLessThan(x.size * 4);
    expect([...inside[0]!.dataSync()]).toEqual([...apart[0]!.dataSync()]);
    for (const t of [x, ...apart, ...inside, ...Object.values(parameters)]) t.dispose();
  });

  it('keeps what is no number, and refuses what does not fit', () => {
    const broken = tensor([1, NaN, 2, 3, 4, 5, 6, 7], [1, 2, 2, 2]), parameters = parametersOf(2), other = parametersOf(3);
    const attributes = { training: true, relu: true, momentum: 0.1, epsilon: EPSILON, inPlace: false };
    const outputs = runAll('BatchNormActivation', { x: broken, ...parameters }, attributes);
    expect([...outputs[0]!.dataSync()].map(Number.isNaN)).toEqual([false, true, false, true, false, true, false, true]);
    expect(() => runAll('BatchNormActivation', { x: broken, ...other }, attributes)).toThrow("BatchNorm's scale is float32, a value a channel (2)");
    const single = tensor([1, 2], [1, 1, 1, 2]);
    expect(() => runAll('BatchNormActivation', { x: single, ...parameters }, attributes)).toThrow('Expected more than 1 value per channel');
    expect(() => runAll('BatchNormActivation', { x: broken, ...parameters, summand: single }, attributes)).toThrow('the summand is');
    for (const t of [broken, single, ...outputs, ...Object.values(parameters), ...Object.values(other)]) t.dispose();
  });
});

describe.skipIf(!hasPacking)('a packed convolution (needs the headers of libdnnl-dev)', () => {
  const shapes = fc.record({ batch: fc.integer({ min: 1, max: 3 }), side: fc.integer({ min: 3, max: 11 }), inputs: fc.constantFrom(1, 3, 8, 16), outputs: fc.constantFrom(4, 16, 32), size: fc.constantFrom(1, 3), strides: fc.constantFrom(1, 2), half: fc.boolean() });

  it('is the convolution, and both of its gradients, with a filter as it is or packed', () => {
    fc.assert(fc.property(shapes, ({ batch, side, inputs, outputs, size, strides, half }) => {
      const padding = (size - 1) / 2, filter = noise([size, size, inputs, outputs], 1), given = noise([batch, side, side, inputs], 2);
      const x = half ? rounded(given) : given.clone(), tolerance = half ? 0.05 : 1e-4, attributes = { strides, padding };
      const conv = { strides, pad: padding === 0 ? 'valid' : padding, dataFormat: 'NHWC', dilations: 1 };
      const expected = run('Conv2D', { x, filter }, conv), pack = run('PackFilter', { filter }, {});
      const raw = noise(expected.shape, 3), dy = half ? rounded(raw) : raw.clone();
      const dxWanted = run('Conv2DBackpropInput', { dy, filter }, { ...conv, inputShape: x.shape }), dwWanted = run('Conv2DBackpropFilter', { x, dy }, { ...conv, filterShape: filter.shape });
      const sums = batch * side * side;
      for (const one of [{ filter }, { pack }] as Record<string, Tensor>[]) {
        const y = run('PackedConv2D', { x, ...one }, { ...attributes, relu: false, spent: false }), dx = run('PackedConv2DInputGradient', { dy, ...one }, { ...attributes, inputShape: x.shape });
        expect(far(y, expected)).toBeLessThan(tolerance);
        expect(far(dx, dxWanted)).toBeLessThan(tolerance);
        for (const t of [y, dx]) t.dispose();
      }
      const dw = run('PackedConv2DFilterGradient', { x, dy }, { ...attributes, filterShape: filter.shape });
      expect(dw.shape).toEqual(filter.shape);
      expect(far(dw, dwWanted)).toBeLessThan(half ? 0.005 * sums : 1e-4 * sums);
      for (const t of [filter, given, x, expected, pack, raw, dy, dxWanted, dwWanted, dw]) t.dispose();
    }), { numRuns: 40 });
  });

  it('has BatchNorm, a sum and ReLU in it', () => {
    const x = noise([2, 5, 5, 8], 1), filter = noise([3, 3, 8, 16], 2), parameters = parametersOf(16), summand = noise([2, 5, 5, 16], 3);
    const product = conv2d(x as Tensor<never>, filter as Tensor<never>, 1, 1);
    const [normalized] = runAll('BatchNorm', { x: product, ...parameters }, { training: false, momentum: 0, epsilon: EPSILON });
    const total = add(normalized!, summand), expected = relu(total);
    const pack = run('PackFilter', { filter }, {}), inputs = { x, pack, summand, ...parameters };
    const attributes = { strides: 1, padding: 1, relu: true, epsilon: EPSILON };
    const kept = run('PackedConv2D', inputs, { ...attributes, spent: false });
    expect(far(kept, expected)).toBeLessThan(1e-4);
    expect([...summand.dataSync()]).toEqual([...values(summand.size, 3)]);
    const shared = summand.clone(), again = run('PackedConv2D', inputs, { ...attributes, spent: true });
    expect([...shared.dataSync()]).toEqual([...values(summand.size, 3)]);
    shared.dispose();
    const spent = run('PackedConv2D', inputs, { ...attributes, spent: true });
    for (const y of [again, spent]) expect([...y.dataSync()]).toEqual([...kept.dataSync()]);
    for (const t of [x, filter, summand, product, normalized!, total, expected, pack, kept, again, spent, ...Object.values(parameters)]) t.dispose();
  });

  it.each([['float32', 1], ['bfloat16', 0.5]] as const)('holds a frozen filter once in %s, and still gives its values to whoever asks', (precision, part) => {
    // Two values half-way between two of bfloat16, of which one is rounded down and one up, and others that are no number like the rest.
    const odd = [...new Float32Array(Uint32Array.of(0x3f808000, 0x3f818000, 0x80000001, 0x7f7fffff).buffer), Number.NaN, -Infinity, -0];
    const known = [...values(3 * 3 * 64 * 256, 2)].map((value, i) => (i < odd.length ? odd[i]! : value)), filter = tensor(known, [3, 3, 64, 256]);
    const given = noise([1, 8, 8, 64], 1), x = run('ToPrecision', { x: given }, { precision }), live = () => (memory() as ReturnType<typeof memory> & { liveBytes: number }).liveBytes;
    const before = live(), size = 4 * known.length, pack = run('PackFilter', { filter }, {}), attributes = { strides: 1, padding: 1, relu: false, spent: false };
    const y = run('PackedConv2D', { x, pack }, attributes), dx = run('PackedConv2DInputGradient', { dy: y, pack }, { ...attributes, inputShape: x.shape }), first = [...y.dataSync()];
    // The layout for the way back lies beside the other, the filter itself nowhere.
    const most = 1.05 * part * size + 4 * (y.size + dx.size);
    expect(live() - before).toBeLessThan(most);
    expect([...filter.dataSync()]).toEqual(known);
    expect(live() - before).toBeLessThan(most);
    const same: Tensor = tidy(() => add(filter, 0));
    expect([...same.dataSync()]).toEqual(known.map((value) => value + 0));
    pack.dispose();
    expect([...filter.dataSync()]).toEqual(known);
    const again = run('PackFilter', { filter }, {}), z = run('PackedConv2D', { x, pack: again }, attributes);
    expect([...z.dataSync()]).toEqual(first);
    filter.dispose();
    const last = run('PackedConv2D', { x, pack: again }, attributes);
    expect([...last.dataSync()]).toEqual(first);
    // A call in the other precision wants the values themselves.
    const wide = run('ToPrecision', { x }, { precision: 'float32' }), other = run('PackedConv2D', { x: wide, pack: again }, attributes), plain = tensor(known, [3, 3, 64, 256]), wanted = run('PackedConv2D', { x: wide, filter: plain }, attributes);
    expect([...other.dataSync()]).toEqual([...wanted.dataSync()]);
    for (const t of [given, x, y, dx, same, again, z, last, wide, other, plain, wanted]) t.dispose();
  });

  it('refuses what does not fit, and tensors that are none', () => {
    const x = noise([1, 5, 5, 4], 1), filter = noise([3, 3, 8, 16], 2), small = noise([1, 1, 1, 8], 4), bytes = tensor([1, 0], [2], 'bool');
    const attributes = { strides: 1, padding: 1, relu: false, spent: false };
    expect(() => run('PackedConv2D', { x, filter }, attributes)).toThrow('a filter for 8 channels was given an input of 4');
    expect(() => run('PackedConv2D', { x: small, filter }, { ...attributes, padding: 0 })).toThrow('the filter is larger than the picture');
    expect(() => run('PackedConv2D', { x: small, filter }, { ...attributes, strides: 0 })).toThrow('a stride is positive');
    expect(() => run('PackedConv2D', { x: small, pack: bytes }, attributes)).toThrow('a filter is [height, width, in, out]');
    expect(() => run('PackedConv2D', { x: small, filter, summand: x }, attributes)).toThrow('another shape or type');
    for (const t of [x, filter, small, bytes]) t.dispose();
  });
});

/** They take fewer multiplications where the processor has the instructions for it. */
describe('a convolution of 3 x 3 in bfloat16', () => {
  const cases = fc.record({ batch: fc.integer({ min: 1, max: 3 }), height: fc.integer({ min: 3, max: 13 }), width: fc.integer({ min: 3, max: 13 }), inputs: fc.constantFrom(32, 64, 96), outputs: fc.constantFrom(32, 64, 96) });
  const attributes = { strides: 1, padding: 1 }, conv = { strides: 1, pad: 1, dataFormat: 'NHWC', dilations: 1 };
  /** Without the regularity of a sine, of which sums leave little but rounding. */
  const drawn = (shape: number[], seed: number): Tensor => tensor(values(shape.reduce((a, b) => a * b, 1), seed).map((value) => (43758.5453 * value) % 1), shape);
  const wide = (x: Tensor): Tensor => run('ToPrecision', { x }, { precision: 'float32' });
  const distance = (a: Tensor, b: Tensor): number => {
    const [u, v] = [a.dataSync(), b.dataSync()];
    return Math.hypot(...u.map((x, i) => x - v[i]!)) / Math.hypot(...v);
  };
  /** The result, the input's gradient and the filter's. */
  const three = (x: Tensor, filter: Tensor, dy: Tensor): Tensor[] => [
    run('Conv2D', { x, filter }, conv), run('Conv2DBackpropInput', { dy, filter }, { ...conv, inputShape: x.shape }), run('Conv2DBackpropFilter', { x, dy }, { ...conv, filterShape: filter.shape }),
  ];
  const packedThree = (x: Tensor, one: Record<string, Tensor>, dy: Tensor, filterShape: number[]): Tensor[] => [
    run('PackedConv2D', { x, ...one }, { ...attributes, relu: false, spent: false }), run('PackedConv2DInputGradient', { dy, ...one }, { ...attributes, inputShape: x.shape }), run('PackedConv2DFilterGradient', { x, dy }, { ...attributes, filterShape }),
  ];

  it('is what it is in float32, forward and back, up to rounding', () => {
    fc.assert(fc.property(cases, ({ batch, height, width, inputs, outputs }) => tidy(() => {
      const filter = drawn([3, 3, inputs, outputs], 1), x = rounded(drawn([batch, height, width, inputs], 2)), dy = rounded(drawn([batch, height, width, outputs], 3));
      const wanted = three(wide(x), filter, wide(dy));
      const ways = [three(x, filter, dy), three(x, rounded(filter), dy), ...(hasPacking ? [{ filter }, { pack: run('PackFilter', { filter }, {}) }].map((one) => packedThree(x, one, dy, filter.shape)) : [])];
      for (const got of ways) {
        expect(got.map(({ shape }) => shape)).toEqual(wanted.map(({ shape }) => shape));
        got.forEach((t, i) => expect(distance(t, wanted[i]!)).toBeLessThan(0.012));
      }
    })), { numRuns: 25 });
  });

  it("gives a picture's values whatever else is in the batch, bit for bit", () => tidy(() => {
    const filter = drawn([3, 3, 64, 64], 1), given = drawn([5, 13, 9, 64], 2);
    const of = (x: Tensor) => [...run('Conv2D', { x: rounded(x), filter }, conv).dataSync()];
    expect([0, 1, 2, 3, 4].flatMap((i) => of(slice(given, [i, 0, 0, 0], [1, 13, 9, 64])))).toEqual(of(given));
  }));

  it.skipIf(!hasPacking)('has BatchNorm, a sum and ReLU in it, and keeps what is no number', () => tidy(() => {
    const x = rounded(drawn([2, 7, 7, 32], 1)), filter = drawn([3, 3, 32, 64], 2), parameters = parametersOf(64), summand = rounded(drawn([2, 7, 7, 64], 3));
    const tail = { ...attributes, relu: true, spent: false, epsilon: EPSILON };
    const expected = run('PackedConv2D', { x: wide(x), filter, summand: wide(summand), ...parameters }, tail), y = run('PackedConv2D', { x, filter, summand, ...parameters }, tail);
    expect(distance(y, expected)).toBeLessThan(0.008);
    const broken = rounded(tensor(values(x.size, 1).fill(Number.NaN, 0, 1), x.shape));
    const nothing = [...run('PackedConv2D', { x: broken, filter }, tail).dataSync()].filter(Number.isNaN);
    expect(nothing.length).toBeGreaterThanOrEqual(4 * 64);
    expect(nothing.length).toBeLessThan(49 * 64);
  }));
});

describe('the switch', () => {
  it('takes the kernels away and brings them back', () => {
    useFusion(false);
    expect(getKernel('BatchNormActivation', 'libtorch') ?? getKernel('PackedConv2D', 'libtorch') ?? null).toBeNull();
    useFusion(true);
    expect(getKernel('BatchNormActivation', 'libtorch')).not.toBeNull();
  });
});
