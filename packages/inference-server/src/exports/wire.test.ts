import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeMessage, varint } from './wire.js';

/** The varint at the beginning of some bytes, as a signed 64-bit number. */
function readVarint(bytes: Uint8Array): bigint {
  let value = 0n;
  bytes.forEach((byte, i) => (value |= BigInt(byte & 127) << BigInt(7 * i)));
  return BigInt.asIntN(64, value);
}

describe('the wire format', () => {
  test('writes varints of 7 bits a byte, all but the last marked', () => {
    fc.assert(fc.property(fc.maxSafeInteger(), (value) => {
      const bytes = varint(value);
      expect(readVarint(bytes)).toBe(BigInt(value));
      expect([...bytes].every((byte, i) => (byte >= 128) === i < bytes.length - 1)).toBe(true);
    }));
    expect([...varint(300)]).toEqual([0xac, 0x02]);
    expect(varint(-1).length).toBe(10);
    expect(() => varint(0.5)).toThrow(RangeError);
  });

  // The examples of protobuf.dev's page on the encoding.
  test('writes numbers, texts, messages, lists and floats under their fields', () => {
    expect([...encodeMessage([[1, 150]])]).toEqual([0x08, 0x96, 0x01]);
    expect([...encodeMessage([[2, 'testing']])]).toEqual([0x12, 0x07, ...Buffer.from('testing')]);
    expect([...encodeMessage([[3, [[1, 150]]]])]).toEqual([0x1a, 0x03, 0x08, 0x96, 0x01]);
    expect([...encodeMessage([[4, { each: [1, 2] }], [16, Uint8Array.of(7)]])]).toEqual([0x20, 1, 0x20, 2, 0x82, 0x01, 1, 7]);
    expect([...encodeMessage([[2, { float: 1.5 }]])]).toEqual([0x15, 0, 0, 0xc0, 0x3f]);
    expect([...encodeMessage([[1, { each: [] }], [2, '']])]).toEqual([0x12, 0]);
  });
});
