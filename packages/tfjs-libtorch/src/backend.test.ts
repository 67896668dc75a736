import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { addon, callOperator } from './addon.js';
import { emptyCache, memory, resetPeak } from './index.js';
import { isSanitized } from './testing/sanitizer.js';

const kernel = (name: string, inputs: Record<string, unknown>, attributes: object = {}) => tf.engine().runKernel(name, inputs as tf.NamedTensorMap, attributes as tf.NamedAttrMap);

beforeAll(async () => {
  expect(await tf.setBackend('libtorch')).toBe(true);
});
beforeEach(() => {
  expect(tf.memory().numTensors).toBe(0);
});

describe('what went wrong', () => {
  it("is told with the kernel, the shapes and ATen's own words", () => {
    tf.tidy(() => {
      const a = tf.zeros([2, 3]), b = tf.zeros([4, 5]);
      // libtorch 1.13 and 2.x have other words for it.
      expect(() => kernel('BatchMatMul', { a, b }, { transposeA: false, transposeB: false })).toThrow(/^BatchMatMul\(a \[2, 3\], b \[4, 5\]\): (mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)|mm: )/);
      expect(() => kernel('Add', { a, b })).toThrow('Add(a [2, 3], b [4, 5]): The size of tensor a (3) must match the size of tensor b (5)');
      expect(() => tf.gather(a, tf.tensor1d([9], 'int32'))).toThrow(/GatherV2\(x \[2, 3\], indices \[1\]\): .*out of range/);
    });
  });

  it('says that a tensor was disposed', () => {
    const x = tf.zeros([3]);
    x.dispose();
    expect(() => kernel('Relu', { x })).toThrow('Relu(x [3]): a tensor was used after it was disposed');
    expect(() => x.dataSync()).toThrow('disposed');
  });

  it('refuses string tensors, and says where to keep them', () => {
    expect(() => tf.tensor1d(['a', 'b'])).toThrow('the libtorch backend holds float32, int32, bool and complex64 tensors; string is not among them');
  });

  it('names a kernel that the backend lacks', () => {
    tf.tidy(() => {
      expect(() => kernel('StringSplit', { input: tf.zeros([1, 2]) })).toThrow("Kernel 'StringSplit' not registered for backend 'libtorch'");
    });
  });

  it('leaves no tensor behind, whichever step failed', () => {
    tf.tidy(() => {
      const x = tf.zeros([2, 4, 4, 3]), before = memory().tensors;
      expect(() => kernel('Conv2D', { x, filter: tf.zeros([3, 3, 5, 4]) }, { strides: 1, pad: 'same' })).toThrow('Conv2D(');
      expect(() => kernel('SplitV', { x }, { numOrSizeSplits: [1, 1, 9], axis: 0 })).toThrow('SplitV(');
      expect(memory().tensors - before).toBe(1);
    });
  });

  it('is an error of its own for an operator that ATen has not, and for arguments of another kind', () => {
    expect(() => callOperator('aten::nothing', [])).toThrow('nothing');
    expect(() => callOperator('aten::relu', ['text'])).toThrow();
    expect(() => callOperator('aten::relu', [])).toThrow();
    expect(() => addon().read(Number.NaN)).toThrow('used after it was disposed');
    expect(() => addon().fromData(new Float32Array(3), [2, 2])).toThrow('was given 3 values');
  });
});

describe('optimizers', () => {
  it('refuse gradients and state of other shapes', () => {
    tf.tidy(() => {
      const step = (gradient: number[], state: number[]) => () =>
        kernel('SgdStep', { parameters: [tf.zeros([2, 3])], gradients: [tf.zeros(gradient)], buffers: [tf.zeros(state)] }, { learningRate: 1, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, step: 1 });
      expect(step([3, 2], [2, 3])).toThrow('a gradient of shape [3, 2] for a parameter of shape [2, 3]');
      expect(step([2, 3], [6])).toThrow("an optimizer's state of shape [6] for a parameter of shape [2, 3]");
    });
  });

  it('take state that lies in memory in another order than the parameter', () => {
    const values = Float32Array.from({ length: 6 }, (_, i) => i);
    const options = { learningRate: 0.5, momentum: 1, dampening: 0, weightDecay: 0, nesterov: false, step: 2 };
    tf.tidy(() => {
      const turned = () => tf.transpose(tf.tensor2d([0, 3, 1, 4, 2, 5], [3, 2]));
      const parameters = [turned()], gradients = [turned()], buffers = [tf.tensor2d(values, [2, 3])];
      kernel('SgdStep', { parameters, gradients, buffers }, options);
      expect([...buffers[0]!.dataSync()]).toEqual([0, 2, 4, 6, 8, 10]);
      expect([...parameters[0]!.dataSync()]).toEqual([0, 0, 0, 0, 0, 0]);
      kernel('SgdStep', { parameters, gradients, buffers }, options);
      expect([...buffers[0]!.dataSync()]).toEqual([0, 3, 6, 9, 12, 15]);
    });
  });
});

describe('memory', () => {
  it('goes when the last tensor that shares it is disposed', () => {
    const before = tf.memory() as tf.MemoryInfo & { liveBytes: number; tensors: number };
    const x = tf.zeros([256, 1024]), view = tf.reshape(x, [1024, 256]), copy = x.clone();
    const bytes = () => (tf.memory() as typeof before).liveBytes - before.liveBytes;
    expect(bytes()).toBeGreaterThanOrEqual(1 << 20);
    x.dispose();
    copy.dispose();
    expect(bytes()).toBeGreaterThanOrEqual(1 << 20);
    view.dispose();
    expect(bytes()).toBe(0);
    expect(memory().tensors).toBe(before.tensors);
  });

  it('has a peak that can be begun anew', () => {
    tf.zeros([1024, 1024]).dispose();
    expect(memory().peakBytes).toBeGreaterThanOrEqual(4 << 20);
    resetPeak();
    expect(memory().peakBytes).toBe(memory().liveBytes);
  });

  it.skipIf(isSanitized)('is cut out of larger blocks that were let go, and grows together again', () => {
    const MEBIBYTE = 2 ** 20, of = (mebibytes: number) => tf.zeros([mebibytes, MEBIBYTE / 4]), about = (mebibytes: number) => expect.closeTo(mebibytes, 1) as number;
    emptyCache();
    const cached = () => memory().cachedBytes / MEBIBYTE, kept = cached();
    of(24).dispose();
    expect(cached() - kept).toEqual(about(24));
    const parts = [of(8), of(4), of(11)];
    expect(cached() - kept).toEqual(about(1));
    tf.dispose(parts);
    const whole = of(24);
    expect(cached() - kept).toEqual(about(0));
    whole.dispose();
    const [first, second] = [of(8), of(4)];
    first.dispose();
    emptyCache();
    expect(cached() - kept).toEqual(about(0));
    // The pages between went back; they are there for whoever wants them.
    const third = of(8);
    expect(third.dataSync().every((value) => value === 0)).toBe(true);
    third.dispose();
    second.dispose();
    emptyCache();
    expect(cached()).toEqual(about(kept));
  });

  it('takes over tensors that another backend made, and gives them up again', async () => {
    await tf.setBackend('cpu');
    const x = tf.tensor1d([1, 2, 3]);
    await tf.setBackend('libtorch');
    const y = tf.mul(x, 2);
    await tf.setBackend('cpu');
    const z = tf.add(y, x);
    expect([...z.dataSync()]).toEqual([3, 6, 9]);
    await tf.setBackend('libtorch');
    tf.dispose([x, y, z]);
    expect(memory().tensors).toBe(0);
  });
});

describe('max pooling', () => {
  it.each(['float32', 'bfloat16'] as const)('gives a NaN where one is in the window, and its gradient to the first of the largest: %s', (precision) => {
    const kernel = <T>(name: string, inputs: object, attributes: object) => tf.engine().runKernel(name, inputs as tf.NamedTensorMap, attributes as tf.NamedAttrMap) as T;
    tf.tidy(() => {
      const x = kernel<tf.Tensor>('ToPrecision', { x: tf.tensor([1, Number.NaN, 3, 3, 2, 0, 3, -Infinity], [1, 2, 4, 1]) }, { precision }), attributes = { filterSize: 2, strides: 2, pad: 0 };
      const [y, indices] = kernel<tf.Tensor[]>('MaxPoolWithIndices', { x }, attributes);
      expect([...y!.dataSync()]).toEqual([Number.NaN, 3]);
      const dx = kernel<tf.Tensor>('MaxPoolWithIndicesBackward', { dy: tf.tensor([5, 7], [1, 1, 2, 1]), indices }, { ...attributes, inputShape: x.shape });
      expect([...dx.dataSync()]).toEqual([0, 5, 7, 0, 0, 0, 0, 0]);
    });
  });
});

describe('values', () => {
  it('come back as they went in, bit for bit', () => {
    fc.assert(fc.property(fc.float32Array({ maxLength: 40 }), (values) => {
      const x = tf.tensor1d(values);
      expect(x.dataSync()).toEqual(values);
      x.dispose();
    }));
    fc.assert(fc.property(fc.int32Array({ maxLength: 40 }), (values) => {
      const x = tf.tensor1d(values, 'int32');
      expect(x.dataSync()).toEqual(values);
      x.dispose();
    }));
  });

  it('are read in row-major order whatever views lie between', () => {
    fc.assert(fc.property(fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 4, maxLength: 4 }), (order, shape) => {
      const inverse = order.map((_, axis) => order.indexOf(axis)), count = shape.reduce((p, n) => p * n, 1);
      tf.tidy(() => {
        const x = tf.reshape(tf.range(0, count), shape);
        expect([...tf.transpose(tf.transpose(x, order), inverse).dataSync()]).toEqual(Array.from({ length: count }, (_, i) => i));
      });
    }));
  });
});
