import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../errors.js';
import { BYTES_OF, type HostTensor, elementCount, toFloat32 } from './host-tensor.js';
import { readPth } from './pth.js';
import { type FakeTensor, join, legacyFile, legacyOf, little, opcodes, pickle, tensorCode, zipFile, zipOf } from './testing/torch-file.js';
import { type Reference, hasTorch, writeTorchFiles } from './testing/torch-reference.js';

const values = Float32Array.from({ length: 12 }, (_, i) => i + 0.5);
const bytesOf = (array: Float32Array) => new Uint8Array(array.buffer);
const plain: FakeTensor = { name: 'weight', key: '7', count: 12, shape: [3, 4], strides: [4, 1] };
const turned: FakeTensor = { name: 'turned', key: '7', count: 12, offset: 1, shape: [3, 3], strides: [1, 4] };
const zip = zipOf([plain, turned], { 7: bytesOf(values) });
const legacy = legacyOf([plain, turned], { 7: values });

const isWhole = ({ dtype, shape, bytes }: HostTensor) => bytes.length === elementCount(shape) * BYTES_OF[dtype];

/** Any input gives whole tensors or a UserError. */
function expectOrderly(bytes: Uint8Array): void {
  try {
    expect([...readPth(bytes).values()].every(isWhole)).toBe(true);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
}

describe.skipIf(!hasTorch)('files that PyTorch wrote (skipped where /usr/bin/python3 has no torch)', () => {
  const folder = mkdtempSync(joinPath(tmpdir(), 'chameleon-pth-'));
  const weights = process.env.CHAMELEON_TEST_DATA ? ['resnet20-12fca82f.th', 'resnet56-4bfd9763.th'].map((file) => joinPath(process.env.CHAMELEON_TEST_DATA!, 'weights', file)) : [];
  let reference: Reference;
  beforeAll(() => {
    reference = writeTorchFiles(folder, weights);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const rowsOf = (tensors: Map<string, HostTensor>) =>
    Object.fromEntries([...tensors].map(([key, { dtype, shape, bytes }]) => [key, { dtype, shape, sha256: createHash('sha256').update(bytes).digest('hex') }]));
  const kinds = ['dtypes', 'views', 'shared', 'parameter', 'nested', 'model', 'protocol4'].flatMap((kind) => [`zip-${kind}.pth`, `legacy-${kind}.pth`]);

  it.each(kinds)('%s has the bytes that PyTorch reads', (file) => {
    expect(Object.keys(reference.files[file]!).length).toBeGreaterThan(1);
    expect(rowsOf(readPth(readFileSync(joinPath(folder, file)), file))).toEqual(reference.files[file]);
  });

  it.skipIf(weights.length === 0)('strangers\' legacy files have the bytes that PyTorch reads (skipped without CHAMELEON_TEST_DATA)', () => {
    for (const path of weights) expect(rowsOf(readPth(readFileSync(path), path))).toEqual(reference.files[path]);
    expect(Object.keys(reference.files[weights[0]!]!)).toContain('module.layer3.2.bn2.running_var');
  });

  it.each(['zip-hostile.pth', 'legacy-hostile.pth'])('%s calls os.system in PyTorch, and is refused by that name here', (file) => {
    expect(reference.hostileAreLive).toBe(true);
    expect(() => readPth(readFileSync(joinPath(folder, file)), file)).toThrow(`${file} tries to call posix.system`);
    expect(existsSync(joinPath(folder, 'marker'))).toBe(false);
  });

  it('a TorchScript program is told apart from weights', () => {
    expect(() => readPth(readFileSync(joinPath(folder, 'script.pt')), 'script.pt')).toThrow('script.pt is a TorchScript program');
  });
});

describe.each([['zip', zip], ['legacy', legacy]])('the %s format', (_, file) => {
  it('gives contiguous tensors as they lie and gathers others row by row', () => {
    const tensors = readPth(file);
    expect([...tensors.keys()]).toEqual(['weight', 'turned']);
    expect(toFloat32(tensors.get('weight')!)).toEqual(values);
    expect([...toFloat32(tensors.get('turned')!)]).toEqual([1.5, 5.5, 9.5, 2.5, 6.5, 10.5, 3.5, 7.5, 11.5]);
  });

  it('is refused wherever it is cut', () => {
    for (let length = 4; length < file.length; length++) expect(() => readPth(file.subarray(0, length)), `${length} bytes`).toThrow(UserError);
  });

  it('gives whole tensors or a UserError when bytes are changed', () => {
    const change = fc.tuple(fc.nat(file.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = file.slice();
        for (const [at, byte] of changes) changed[at] = byte;
        changed.set(file.subarray(0, 2));
        expectOrderly(changed);
      }),
      { numRuns: 3000 },
    );
  });

  it('lies in a Buffer at any place of memory', () => {
    const buffer = Buffer.concat([Buffer.from('x'), file]).subarray(1);
    expect(toFloat32(readPth(buffer).get('weight')!)).toEqual(values);
  });
});

describe('pickles that are no weights', () => {
  const evil = pickle(opcodes.global('posix', 'system'), opcodes.mark, opcodes.text('true'), opcodes.tuple, opcodes.reduce);
  const inZip = (...parts: Uint8Array[]) => zipFile(pickle(...parts), { 7: bytesOf(values) });
  const state = (...parts: Uint8Array[]) => join(opcodes.emptyDict, opcodes.text('w'), ...parts, opcodes.setItem);

  it('are refused by the name of what they call', () => {
    expect(() => readPth(zipFile(evil, {}), 'w.pth')).toThrow(/^w\.pth tries to call posix\.system.*Nothing of it was run.*state_dict\(\)/);
    expect(() => readPth(legacyFile(evil, {}))).toThrow('tries to call posix.system');
    expect(() => readPth(evil)).toThrow('tries to call posix.system');
    const stacked = [opcodes.text('builtins'), opcodes.text('eval'), Uint8Array.of(0x93)];
    expect(() => readPth(inZip(...stacked))).toThrow('tries to call builtins.eval');
  });

  it.each([['INST', 0x69], ['OBJ', 0x6f], ['NEWOBJ', 0x81], ['NEWOBJ_EX', 0x92], ['EXT1', 0x82], ['PERSID', 0x50], ['one that is none', 0xff]])('are refused for the opcode %s', (_, opcode) => {
    expect(() => readPth(inZip(opcodes.mark, Uint8Array.of(opcode)))).toThrow(`the pickle opcode 0x${opcode.toString(16).padStart(2, '0')}`);
  });

  it('may name a storage\'s type but not call it, nor call a value', () => {
    expect(() => readPth(inZip(opcodes.global('torch', 'FloatStorage'), opcodes.emptyTuple, opcodes.reduce))).toThrow('tries to call torch.FloatStorage');
    expect(() => readPth(inZip(opcodes.text('os.system'), opcodes.emptyTuple, opcodes.reduce))).toThrow('tries to call a value that is no function');
    expect(() => readPth(inZip(opcodes.text('x'), opcodes.emptyDict, opcodes.build))).toThrow('sets the inner state of an object');
  });

  it('of names that JavaScript has for itself are dictionaries like any other', () => {
    const tensors = readPth(zipOf(['__proto__', 'constructor', 'toString'].map((name) => ({ ...plain, name })), { 7: bytesOf(values) }));
    expect([...tensors.keys()]).toEqual(['__proto__', 'constructor', 'toString']);
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
    expect(() => readPth(inZip(opcodes.global('torch', '__proto__')))).toThrow('tries to call torch.__proto__');
  });

  it('that take, recall or close what they never made are damaged', () => {
    for (const code of [opcodes.setItem, opcodes.get(3), opcodes.tuple, opcodes.append, join(opcodes.mark, opcodes.put(0)), join(opcodes.none, opcodes.mark, Uint8Array.of(0x85))]) expect(() => readPth(inZip(code))).toThrow(/not a whole weight file: its pickle/);
  });

  it('that hold other things say what to save', () => {
    expect(() => readPth(inZip(opcodes.none))).toThrow('holds no dictionary');
    expect(() => readPth(inZip(state(opcodes.integer(5))))).toThrow('no tensors');
    expect(() => readPth(pickle(opcodes.none))).toThrow('not one that torch.save wrote');
    expect(() => readPth(zipFile(pickle(), {}, { more: {} }).slice().fill(0, 30, 46))).toThrow(UserError);
    expect(() => readPth(zipOf([plain], { 7: bytesOf(values) }, { more: { 'archive/byteorder': new TextEncoder().encode('big') } }))).toThrow('big-endian');
  });

  it('with views beyond their storage are damaged', () => {
    for (const wrong of [{ ...plain, offset: 1 }, { ...plain, strides: [5, 1] }, { ...plain, shape: [4, 4] }, { ...plain, count: 13 }, { ...plain, offset: -1 }, { ...plain, strides: [4] }, { ...plain, key: '8' }]) expect(() => readPth(zipOf([wrong], { 7: bytesOf(values) }))).toThrow(UserError);
  });
});

describe('bombs', () => {
  const { emptyList, append, get, put, none, emptyDict, text, setItem, mark, tuple, global, reduce } = opcodes;

  it('of lists within lists stay as small as they are written', () => {
    const doubled = Array.from({ length: 200 }, (_, i) => join(emptyList, put(i + 1), get(i), append, get(i), append));
    expect(() => readPth(zipFile(pickle(emptyList, put(0), ...doubled), {}))).toThrow('holds no dictionary');
  });

  it('of a list that holds itself end', () => {
    expect(() => readPth(zipFile(pickle(emptyDict, text('state_dict'), emptyList, put(0), get(0), append, setItem), {}))).toThrow('no tensors');
  });

  it('of opcodes without end are refused', () => {
    expect(() => readPth(zipFile(pickle(new Uint8Array(1_100_000).fill(none[0]!)), {}))).toThrow('more than 1,000,000 opcodes');
  });

  it('of dictionaries copied again and again are refused', () => {
    const pair = join(mark, text('k'), none, tuple);
    const list = join(emptyList, ...Array.from({ length: 1000 }, () => join(pair, append)), put(0));
    const copies = Array.from({ length: 200 }, () => join(global('collections', 'OrderedDict'), mark, get(0), tuple, reduce));
    expect(() => readPth(zipFile(pickle(list, ...copies), {}))).toThrow('more than 100000 entries');
  });

  it('of one element spread over a terabyte are refused', () => {
    expect(() => readPth(zipOf([{ ...plain, shape: [1_000_000, 1_000_000], strides: [0, 0] }], { 7: bytesOf(values) }))).toThrow('as large as the file');
    expect(() => readPth(zipOf([{ ...plain, shape: Array.from({ length: 60 }, () => 2 ** 30), strides: Array.from({ length: 60 }, () => 0) }], { 7: bytesOf(values) }))).toThrow('as large as the file');
  });

  it('of zeros packed a thousandfold are refused, honest packing is read', () => {
    expect(toFloat32(readPth(zipOf([plain], { 7: bytesOf(values) }, { level: 9 })).get('weight')!)).toEqual(values);
    expect(() => readPth(zipOf([plain], { 7: new Uint8Array(1 << 26) }, { level: 9 }))).toThrow('unpacks to more than 8 times its size');
  });

  it('of a count that the header of the zip only claims are refused', () => {
    const claims = zip.slice();
    const end = claims.length - 22;
    claims.set(little(0xffff, 2), end + 8);
    claims.set(little(0xffff, 2), end + 10);
    expectOrderly(claims);
  });

  it('of long integers and texts are refused before they are read', () => {
    expect(() => readPth(zipFile(pickle(Uint8Array.of(0x8b), little(1 << 24, 4), new Uint8Array(1 << 24)), {}))).toThrow('an integer of 16777216 bytes');
    expect(() => readPth(zipFile(pickle(Uint8Array.of(0x58), little(1 << 24, 4), new Uint8Array(1 << 24)), {}))).toThrow('a text of 16777216 bytes');
  });

  it('of a tensor with a thousand axes are refused', () => {
    const axes = Array.from({ length: 1000 }, () => 1);
    expect(() => readPth(zipFile(pickle(emptyDict, text('w'), tensorCode({ ...plain, shape: axes, strides: axes }), setItem), { 7: bytesOf(values) }))).toThrow('malformed shape');
  });
});
