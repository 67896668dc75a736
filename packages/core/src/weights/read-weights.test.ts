import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { UserError } from '../errors.js';
import { hostTensor, toFloat32 } from './host-tensor.js';
import { readWeights } from './read-weights.js';
import { writeSafetensors } from './safetensors.js';
import { legacyOf, opcodes, pickle, zipFile, zipOf } from './testing/torch-file.js';

const values = Float32Array.of(1, 2, 3);
const fake = { name: 'weight', key: '0', count: 3, shape: [3], strides: [1] };
const text = (content: string) => new TextEncoder().encode(content);

describe('a weight file', () => {
  it.each([
    ['safetensors', writeSafetensors([['weight', hostTensor(values, [3])]])],
    ["PyTorch's zip", zipOf([fake], { 0: new Uint8Array(values.buffer) })],
    ["PyTorch's legacy format", legacyOf([fake], { 0: values })],
  ])('of %s is known by its bytes, whatever its name', (_, bytes) => {
    for (const name of ['w.pth', 'w.bin', 'w']) expect([...toFloat32(readWeights(bytes, name).get('weight')!)]).toEqual([1, 2, 3]);
  });

  it('called .safetensors is read as such, so that its own damage is told', () => {
    expect(() => readWeights(text('nonsense and more'), 'w.safetensors')).toThrow(/^w\.safetensors is not a whole safetensors file: its header claims/);
  });

  it('that calls something is refused, whatever it is called', () => {
    const evil = pickle(opcodes.global('os', 'system'), opcodes.mark, opcodes.text('true'), opcodes.tuple, opcodes.reduce);
    for (const bytes of [evil, zipFile(evil, {})]) expect(() => readWeights(bytes, 'w.bin')).toThrow('w.bin tries to call os.system');
  });

  it.each<[Uint8Array, RegExp]>([
    [new Uint8Array(0), /an empty file/],
    [text('these are notes'), /plain text/],
    [text('<!DOCTYPE html><html></html>'), /a web page, such as a server sends in place of a file/],
    [text('{"error": "not found"}'), /JSON/],
    [text('version https://git-lfs.github.com/spec/v1\noid sha256:00'), /a pointer of Git LFS.*git lfs pull/],
    [Uint8Array.of(0x1f, 0x8b, 8, 0), /a gzip archive/],
    [Uint8Array.of(0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a), /HDF5/],
    [Uint8Array.of(0xff, 0xd8, 0xff, 0xe0), /a picture/],
    [Uint8Array.of(0x7f, 0x45, 0x4c, 0x46), /a program/],
    [Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0), /a NumPy array/],
    [Uint8Array.of(1, 2, 3, 250), /no format that we know \(it begins with 01 02 03 fa\)/],
  ])('that is none says what it looks like (%#)', (bytes, likeness) => {
    const failure = () => readWeights(bytes, 'w.pth');
    expect(failure).toThrow(UserError);
    expect(failure).toThrow(likeness);
    expect(failure).toThrow(/^w\.pth is no weight file: .*Pass a safetensors file, or one that torch\.save wrote/);
  });
});

describe.skipIf(!process.env.CHAMELEON_TEST_DATA)('real files (skipped without CHAMELEON_TEST_DATA)', () => {
  const open = (name: string) => readWeights(readFileSync(join(process.env.CHAMELEON_TEST_DATA!, 'weights', name)), name);

  it.each([['resnet18-tiny.safetensors', 'fc.weight', [200, 512]], ['resnet50-imagenet.safetensors', 'fc.weight', [1000, 2048]], ['resnet20-12fca82f.th', 'module.linear.weight', [10, 64]], ['resnet56-4bfd9763.th', 'module.linear.weight', [10, 64]]])('%s holds its classifier', (name, key, shape) => {
    expect(open(name).get(key)?.shape).toEqual(shape);
  });
});
