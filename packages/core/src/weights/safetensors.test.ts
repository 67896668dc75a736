import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UserError } from '../errors.js';
import { BYTES_OF, type ElementType, type HostTensor, elementCount, hostTensor, integerTensor, toFloat32, toHalf } from './host-tensor.js';
import { readSafetensors, writeSafetensors } from './safetensors.js';

const DTYPES = Object.keys(BYTES_OF) as ElementType[];

/** A file with any header, and as many bytes of data. */
function fileOf(header: unknown, dataBytes = 0): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

/** The same file whose first 8 bytes claim another length of the header. */
function claiming(file: Uint8Array, length: bigint): Uint8Array {
  const changed = file.slice();
  new DataView(changed.buffer).setBigUint64(0, length, true);
  return changed;
}

const f32 = (shape: number[], from: number, to: number) => ({ dtype: 'F32', shape, data_offsets: [from, to] });
const rowsOf = (tensors: ReadonlyMap<string, HostTensor>) => [...tensors].map(([key, { dtype, shape, bytes }]) => [key, dtype, shape, [...bytes]]);

const anyTensor = fc.tuple(fc.constantFrom(...DTYPES), fc.array(fc.nat(3), { maxLength: 4 })).chain(([dtype, shape]) => {
  const length = elementCount(shape) * BYTES_OF[dtype];
  return fc.uint8Array({ minLength: length, maxLength: length }).map((bytes): HostTensor => ({ dtype, shape, bytes }));
});
const anyName = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('__proto__', 'constructor', '7', 'layer1.0.conv1.weight', '')).filter((name) => name !== '__metadata__');

describe('a file that was written', () => {
  it('is read as it was: any name, type and shape, without axes and without elements too', () => {
    fc.assert(fc.property(fc.dictionary(anyName, anyTensor), fc.dictionary(fc.string(), fc.string()), (given, metadata) => {
      const file = writeSafetensors(Object.entries(given), metadata);
      const read = readSafetensors(file);
      expect(rowsOf(read.tensors).sort()).toEqual(rowsOf(new Map(Object.entries(given))).sort());
      expect(Object.entries(read.metadata)).toEqual(Object.entries(metadata));
    }));
  });

  it.each(DTYPES)('holds %s', (dtype) => {
    const bytes = Uint8Array.from({ length: 2 * BYTES_OF[dtype] }, (_, i) => i + 1);
    expect(readSafetensors(writeSafetensors([['t', { dtype, shape: [2], bytes }]])).tensors.get('t')).toEqual({ dtype, shape: [2], bytes });
  });

  it('gives the values that were meant, widened or rounded to float32', () => {
    const bfloat: HostTensor = { dtype: 'BF16', shape: [2], bytes: new Uint8Array(Uint16Array.of(0x3fc0, 0xc000).buffer) };
    const double: HostTensor = { dtype: 'F64', shape: [1], bytes: new Uint8Array(Float64Array.of(0.1).buffer) };
    const file = writeSafetensors([['half', toHalf(hostTensor(Float32Array.of(1.5, -2, 65504), [3]))], ['bfloat', bfloat], ['double', double], ['count', integerTensor(2 ** 40)]]);
    const values = (key: string) => [...toFloat32(readSafetensors(file).tensors.get(key)!)];
    expect([values('half'), values('bfloat'), values('double'), values('count')]).toEqual([[1.5, -2, 65504], [1.5, -2], [Math.fround(0.1)], [2 ** 40]]);
  });

  it('begins its data at a multiple of 8 bytes, and holds nothing but header and data', () => {
    const file = writeSafetensors([['a', hostTensor(Float32Array.of(1, 2), [2])]]);
    const header = Number(new DataView(file.buffer).getBigUint64(0, true));
    expect([header % 8, file.length]).toEqual([0, 8 + header + 8]);
  });

  it('keeps a tensor called __proto__ a tensor, and touches no prototype', () => {
    const { tensors } = readSafetensors(fileOf('{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4));
    expect([...tensors.keys()]).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['dtype']).toBeUndefined();
  });

  it('lies in a Buffer at any place of memory', () => {
    const file = writeSafetensors([['a', hostTensor(Float32Array.of(3, 4), [2])]]);
    const shifted = Buffer.concat([Buffer.from('xyz'), file]).subarray(3);
    expect([...toFloat32(readSafetensors(shifted).tensors.get('a')!)]).toEqual([3, 4]);
  });
});

describe('a damaged file', () => {
  const whole = fileOf({ a: f32([2], 0, 8), b: f32([1], 8, 12) }, 12);

  it.each<[string, Uint8Array, RegExp]>([
    ['nothing', new Uint8Array(0), /it has 0 bytes, less than the length of a header/],
    ['a header longer than the file', claiming(whole, 1000n), /its header claims 1000 bytes, the file has \d+/],
    ['a header beyond all memory', claiming(whole, 2n ** 64n - 1n), /its header claims/],
    ['a header above the limit of the format', claiming(whole, 100_000_001n), /its header claims 100000001 bytes/],
    ['a header that is no JSON', fileOf('{"a":'), /its header is not JSON/],
    ['a header that is no UTF-8', fileOf('""').fill(0xff, 8), /its header is not JSON/],
    ['a list for a header', fileOf('[]'), /its header is not JSON/],
    ['null for a header', fileOf('null'), /its header is not JSON/],
    ['metadata that are no texts', fileOf({ __metadata__: { a: 1 } }), /its metadata is not a map of texts/],
    ['an entry that is none', fileOf({ a: 5 }), /the entry of a is malformed/],
    ['an entry that is null', fileOf({ a: null }), /the entry of a is malformed/],
    ['an unknown type', fileOf({ a: { dtype: 'F8_E4M3', shape: [1], data_offsets: [0, 1] } }, 1), /the entry of a is malformed/],
    ['a negative shape', fileOf({ a: f32([-1], 0, 4) }, 4), /the entry of a is malformed/],
    ['two negative axes', fileOf({ a: f32([-1, -1], 0, 4) }, 4), /the entry of a is malformed/],
    ['a shape that is no whole number', fileOf({ a: f32([0.5], 0, 2) }, 2), /the entry of a is malformed/],
    ['a shape beyond all numbers', fileOf('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}', 4), /the entry of a is malformed/],
    ['a negative offset', fileOf({ a: f32([1], -4, 0) }), /the entry of a is malformed/],
    ['one offset', fileOf({ a: { dtype: 'F32', shape: [1], data_offsets: [0] } }), /the entry of a is malformed/],
    ['offsets the wrong way round', fileOf({ a: f32([1], 4, 0) }, 4), /a takes -4 bytes, but its shape \[1\] needs 4/],
    ['a wrong count of bytes', fileOf({ a: f32([3], 0, 8) }, 8), /a takes 8 bytes, but its shape \[3\] needs 12/],
    ['a shape whose product is too large for a number', fileOf({ a: f32([2 ** 52, 2 ** 52, 2 ** 52], 0, 4) }, 4), /a takes 4 bytes/],
    ['a tensor after the end', fileOf({ a: f32([2], 0, 8) }, 4), /a ends 4 bytes after the file's end/],
    ['tensors that overlap', fileOf({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12), /two tensors overlap at byte 4/],
    ['two tensors in one place', fileOf({ a: f32([2], 0, 8), b: f32([2], 0, 8) }, 8), /two tensors overlap at byte 0/],
    ['a gap', fileOf({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12), /bytes 4 to 8 belong to no tensor/],
    ['a gap at the beginning', fileOf({ a: f32([1], 4, 8) }, 8), /bytes 0 to 4 belong to no tensor/],
    ['bytes after the last tensor', fileOf({ a: f32([1], 0, 4) }, 7), /its last 3 bytes belong to no tensor/],
  ])('with %s says so', (_, file, problem) => {
    const failure = () => readSafetensors(file, 'w.safetensors');
    expect(failure).toThrow(UserError);
    expect(failure).toThrow(problem);
    expect(failure).toThrow(/^w\.safetensors is not a whole safetensors file: .*Fetch or save it again\.$/);
  });

  it('is refused wherever it is cut', () => {
    for (let length = 0; length < whole.length; length++) expect(() => readSafetensors(whole.subarray(0, length)), `${length} bytes`).toThrow(UserError);
    fc.assert(fc.property(fc.dictionary(anyName, anyTensor, { minKeys: 1 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (given, share) => {
      const file = writeSafetensors(Object.entries(given));
      expect(() => readSafetensors(file.subarray(0, Math.floor(share * file.length)))).toThrow(UserError);
    }));
  });

  it('gives whole tensors or a UserError, whichever bytes were changed', () => {
    const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255));
    fc.assert(fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const changed = whole.slice();
      for (const [at, byte] of changes) changed[at] = byte;
      expectOrderly(changed);
    }), { numRuns: 3000 });
  });

  it('gives whole tensors or a UserError, whatever JSON its header is', () => {
    const entry = fc.record({ dtype: fc.constantFrom('F32', 'I64', 'X', 5), shape: fc.oneof(fc.array(fc.integer({ min: -2, max: 3 })), fc.jsonValue()), data_offsets: fc.oneof(fc.array(fc.integer({ min: -8, max: 40 }), { minLength: 1, maxLength: 3 }), fc.jsonValue()) }, { requiredKeys: [] });
    fc.assert(fc.property(fc.oneof(fc.jsonValue(), fc.dictionary(anyName, fc.oneof(entry, fc.jsonValue()))), fc.nat(64), (header, dataBytes) => expectOrderly(fileOf(header, dataBytes))), { numRuns: 1000 });
  });
});

/** Any input gives whole tensors or a UserError. */
function expectOrderly(file: Uint8Array): void {
  try {
    for (const { dtype, shape, bytes } of readSafetensors(file).tensors.values()) expect(bytes.length).toBe(elementCount(shape) * BYTES_OF[dtype]);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
}

describe.skipIf(!process.env.CHAMELEON_TEST_DATA)('real files (skipped without CHAMELEON_TEST_DATA)', () => {
  const folder = join(process.env.CHAMELEON_TEST_DATA ?? '', 'weights');

  it('are read, and refused without their last byte', () => {
    const files = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
    expect(files.length).toBeGreaterThan(0);
    for (const name of files) {
      const bytes = readFileSync(join(folder, name));
      const { tensors } = readSafetensors(bytes, name);
      expect(tensors.get('conv1.weight')!.shape.slice(1), name).toEqual([3, 7, 7]);
      expect(tensors.get('bn1.running_var')!.dtype, name).toMatch(/F32|F16/);
      expect(() => readSafetensors(bytes.subarray(0, -1), name)).toThrow(`${name} is not a whole safetensors file`);
    }
  });
});
