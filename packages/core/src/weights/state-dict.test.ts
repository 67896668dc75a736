import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../errors.js';
import { createClassifier } from '../models/classifier.js';
import { useBackend } from '../testing/engine.js';
import { bitsOf, tinyClassifier } from '../testing/tiny.js';
import { type HostTensor, hostTensor, integerTensor, toFloat32, toHalf } from './host-tensor.js';
import { readWeights } from './read-weights.js';
import { readSafetensors, writeSafetensors } from './safetensors.js';
import { type LoadOptions, loadStateDict, stateDictOf } from './state-dict.js';

beforeAll(() => useBackend('cpu'));

/** A state dictionary of the tiny network, of another seed than the model that it is put into. */
function stateOf(seed: number, head: 'linear' | 'deep' = 'linear'): Map<string, HostTensor> {
  const model = tinyClassifier(head, seed);
  try {
    return stateDictOf(model);
  } finally {
    model.dispose();
  }
}

/** What loading throws; the model's bits must be what they were. */
function refusal(state: ReadonlyMap<string, HostTensor>, options: LoadOptions = { scope: 'all' }): UserError {
  const model = tinyClassifier();
  const before = bitsOf(model);
  try {
    loadStateDict(model, state, options);
  } catch (error) {
    expect(bitsOf(model)).toEqual(before);
    expect(error).toBeInstanceOf(UserError);
    return error as UserError;
  } finally {
    model.dispose();
  }
  throw new Error('it was loaded');
}

const without = (state: Map<string, HostTensor>, ...keys: string[]) => new Map([...state].filter(([key]) => !keys.includes(key)));

describe('a state dictionary', () => {
  it('goes through a file and back with the same bits', () => {
    const state = stateOf(2), model = tinyClassifier('linear', 1);
    loadStateDict(model, readSafetensors(writeSafetensors(state)).tensors, { scope: 'all' });
    expect([...stateDictOf(model)].map(([key, tensor]) => [key, tensor.shape, [...toFloat32(tensor)]])).toEqual([...state].map(([key, tensor]) => [key, tensor.shape, [...toFloat32(tensor)]]));
    model.dispose();
  });

  it("has torchvision's names, and filters in PyTorch's order of axes", () => {
    const state = stateOf(1);
    expect([...state.keys()]).toEqual(expect.arrayContaining(['conv1.weight', 'bn1.running_mean', 'bn1.num_batches_tracked', 'layer1.0.conv1.weight', 'layer2.0.downsample.0.weight', 'fc.weight', 'fc.bias']));
    expect(state.get('conv1.weight')!.shape).toEqual([4, 3, 7, 7]);
  });

  it('may be in half precision, and have the prefix of DataParallel', () => {
    const model = tinyClassifier('linear', 1);
    loadStateDict(model, new Map([...stateOf(2)].map(([key, tensor]) => [`module.${key}`, tensor.dtype === 'F32' ? toHalf(tensor) : tensor])), { scope: 'all' });
    const [loaded, meant] = [toFloat32(stateDictOf(model).get('layer1.0.conv1.weight')!), toFloat32(toHalf(stateOf(2).get('layer1.0.conv1.weight')!))];
    expect([...loaded]).toEqual([...meant]);
    model.dispose();
  });

  it('brings the batches that BatchNorm has seen, and may come without them', () => {
    const model = tinyClassifier(), counts = () => model.batchNorms().map((layer) => layer.batchesTracked);
    loadStateDict(model, stateOf(2).set('bn1.num_batches_tracked', integerTensor(70_000)), { scope: 'all' });
    expect(counts()[0]).toBe(70_000);
    loadStateDict(model, new Map([...stateOf(2)].filter(([key]) => !key.endsWith('num_batches_tracked'))), { scope: 'all' });
    expect(counts()[0]).toBe(70_000);
    model.dispose();
  });

  it('for the body alone leaves the head as it is, whatever classes the file knows, or none', () => {
    const headOf = (seed: number) => stateOf(seed).get('fc.weight')!.bytes;
    const thousand = new Map(stateOf(2)).set('fc.weight', hostTensor(new Float32Array(1000 * 32), [1000, 32])).set('fc.bias', hostTensor(new Float32Array(1000), [1000]));
    for (const state of [thousand, without(stateOf(2), 'fc.weight', 'fc.bias'), stateOf(2, 'deep')]) {
      const model = tinyClassifier('linear', 1);
      loadStateDict(model, state, { scope: 'body' });
      const loaded = stateDictOf(model);
      expect(loaded.get('fc.weight')!.bytes).toEqual(headOf(1));
      expect([...toFloat32(loaded.get('layer4.0.conv2.weight')!)]).toEqual([...toFloat32(stateOf(2).get('layer4.0.conv2.weight')!)]);
      model.dispose();
    }
  });
});

describe('a state dictionary of another network is refused, nothing is changed, and the message', () => {
  it('names the file, the network and its classes, and what to do', () => {
    expect(refusal(without(stateOf(2), 'fc.bias'), { scope: 'all', name: 'w.pth' }).message).toBe('w.pth does not fit tiny with 3 classes. Keys 1 missing: fc.bias. Choose the architecture that the weights were made for with --arch.');
  });

  it('lists what is missing, unexpected and of another shape at once', () => {
    const state = without(stateOf(2), 'layer1.0.conv1.weight').set('layer9.extra', hostTensor(new Float32Array(1), [1])).set('fc.bias', hostTensor(new Float32Array(7), [7]));
    expect(refusal(state).message).toContain('Keys 1 missing: layer1.0.conv1.weight; 1 unexpected: layer9.extra; 1 of another shape: fc.bias is [7] instead of [3].');
  });

  it('gives the shapes of filters as PyTorch does, and takes no shape for another of the same size', () => {
    const turned = stateOf(2).get('conv1.weight')!;
    expect(refusal(new Map(stateOf(2)).set('conv1.weight', { ...turned, shape: [3, 4, 7, 7] })).message).toContain('conv1.weight is [3, 4, 7, 7] instead of [4, 3, 7, 7]');
  });

  it('names six keys of many, and how many there are', () => {
    const { message } = refusal(new Map());
    expect(message).toMatch(/Keys \d\d missing: conv1\.weight, (\S+, ){4}\S+ …\./);
  });

  it('names the head when the whole is wanted, and not when the body is', () => {
    const headless = without(stateOf(2), 'fc.weight', 'fc.bias');
    expect(refusal(headless).message).toContain('2 missing: fc.weight, fc.bias');
    expect(refusal(without(headless, 'bn1.running_var'), { scope: 'body' }).message).toContain('1 missing: bn1.running_var.');
  });
});

describe.skipIf(!process.env.CHAMELEON_TEST_DATA)('real files (skipped without CHAMELEON_TEST_DATA)', () => {
  const open = (name: string) => readWeights(readFileSync(join(process.env.CHAMELEON_TEST_DATA!, 'weights', name)), name);

  it('resnet18-tiny fits resnet18 whole and no other network', () => {
    const state = open('resnet18-tiny.safetensors');
    const fitting = createClassifier({ architecture: 'resnet18', classCount: 200, head: 'linear', seed: 0, bodyIsLoaded: true });
    loadStateDict(fitting, state, { scope: 'all' });
    expect([...toFloat32(stateDictOf(fitting).get('fc.bias')!)]).toEqual([...toFloat32(state.get('fc.bias')!)]);
    fitting.dispose();
    const other = createClassifier({ architecture: 'resnet34', classCount: 2, head: 'linear', seed: 0, bodyIsLoaded: true });
    expect(() => loadStateDict(other, state, { scope: 'body', name: 'resnet18-tiny' })).toThrow(/^resnet18-tiny does not fit resnet34 with 2 classes\. Keys \d+ missing: layer1\.2\.conv1\.weight, /);
    other.dispose();
  });

  it('a stranger’s network for CIFAR-10 fits none of torchvision’s: every key’s fault is told', () => {
    const model = createClassifier({ architecture: 'resnet18', classCount: 10, head: 'linear', seed: 0, bodyIsLoaded: true });
    expect(() => loadStateDict(model, open('resnet20-12fca82f.th'), { scope: 'all', name: 'resnet20' })).toThrow(/missing: .*unexpected: layer1\.2\.conv1\.weight.*of another shape: conv1\.weight is \[16, 3, 3, 3\] instead of \[64, 3, 7, 7\]/s);
    model.dispose();
  });
});
