import '@tensorflow/tfjs-backend-cpu';
import { findBackend, getBackend, registerBackend, removeBackend } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { type BackendCandidate, chooseBackend, examineBackends } from './backend.js';
import { UserError, nearest } from './errors.js';

const broken: BackendCandidate = { name: 'libtorch', load: () => Promise.reject(new Error('libtorch.so.1.13: cannot open shared object file\nmore')), remedy: 'Run npm run setup.' };
const silent: BackendCandidate = { name: 'tensorflow', load: async () => undefined, remedy: 'Install it.' };
const works: BackendCandidate = { name: 'cpu', load: async () => undefined, remedy: 'Nothing to do.' };

describe('the choice of a backend', () => {
  it('by itself takes the first that loads, and says why better ones were passed over', async () => {
    expect(await chooseBackend('auto', [broken, silent, works])).toEqual({
      name: 'cpu',
      passedOver: [
        { name: 'libtorch', available: false, reason: 'libtorch.so.1.13: cannot open shared object file', remedy: 'Run npm run setup.' },
        { name: 'tensorflow', available: false, reason: 'it loaded, but registered nothing', remedy: 'Install it.' },
      ],
    });
    expect(getBackend()).toBe('cpu');
  });

  it('takes the one that was asked for, and nothing in its place', async () => {
    expect(await chooseBackend('cpu', [broken, works])).toEqual({ name: 'cpu', passedOver: [] });
    await expect(chooseBackend('libtorch', [broken, works])).rejects.toThrow(new UserError('The backend libtorch cannot be used here. libtorch: libtorch.so.1.13: cannot open shared object file. Run npm run setup. `chameleon doctor` says more.'));
  });

  it('says what is wrong with each when none can be used', async () => {
    await expect(chooseBackend('auto', [broken, silent])).rejects.toThrow(/^No backend can be used here\. libtorch: .* Run npm run setup\. tensorflow: it loaded, but registered nothing\. Install it\./);
  });

  it('tells what is wrong with each', async () => {
    expect((await examineBackends([broken, works])).map(({ name, available }) => [name, available])).toEqual([['libtorch', false], ['cpu', true]]);
  });

  it('finds one that starts asynchronously, as wasm does', async () => {
    const cpu = findBackend('cpu'), late: BackendCandidate = { name: 'wasm', load: async () => void registerBackend('wasm', async () => cpu), remedy: 'None.' };
    expect(await examineBackends([late])).toMatchObject([{ name: 'wasm', available: true }]);
    removeBackend('wasm');
  });
});

describe('the nearest name', () => {
  it('is a choice within a third of the letters, whatever their case, and else none', () => {
    expect(nearest('resnet43', ['resnet34', 'resnet50'])).toBe('resnet34');
    expect(nearest('ResNet50', ['resnet34', 'resnet50'])).toBe('resnet50');
    expect(nearest('vgg', ['resnet34'])).toBeNull();
    expect(nearest('anything', [])).toBeNull();
  });
});
