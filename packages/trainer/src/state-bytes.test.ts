import { describe, expect, it } from 'vitest';
import { packState, unpackState } from './state-bytes.js';

describe('a state that travels', () => {
  it('comes out as it went in, wherever it lies in memory', () => {
    const state = { model: Uint8Array.of(1, 2, 3), optimizer: new Uint8Array(0), state: '{"Ä":1}\n' };
    const packed = packState(state);
    const elsewhere = new Uint8Array(packed.length + 7);
    elsewhere.set(packed, 5);
    expect(unpackState(elsewhere.subarray(5, 5 + packed.length))).toEqual(state);
    expect(() => unpackState(packed.subarray(0, -1))).toThrow(/instead of/);
  });
});
