import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Assembler, framesOf } from './frames.js';
import { layBuckets } from './layout.js';
import { type CallHeader, CallMismatch, Reducer, bytesOf, fromBfloat16, toBfloat16 } from './reducer.js';

const header = (kind: CallHeader['kind'], call = 0, root = 0): CallHeader => ({ call, kind, root });

describe('the reducer', () => {
  it('gives the same bits whatever the order in which ranks come', () => {
    const parts = fc.array(fc.float32Array({ minLength: 3, maxLength: 3, noNaN: true }), { minLength: 2, maxLength: 5 });
    fc.assert(fc.property(parts.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list.map((_, i) => i), { minLength: list.length }))), ([list, order]) => {
      const results = [list.map((_, i) => i), order].map((ranks) => {
        const reducer = new Reducer(list.length);
        return ranks.map((rank) => reducer.bring(rank, header('float32'), bytesOf(list[rank]!))).at(-1);
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[0]).not.toBeNull();
    }));
  });

  it('refuses ranks that are not at the same call', () => {
    const reducer = new Reducer(3);
    reducer.bring(0, header('float64', 5), new Uint8Array(8));
    expect(() => reducer.bring(1, header('broadcast', 5), new Uint8Array(8))).toThrow(CallMismatch);
    expect(() => reducer.bring(0, header('float64', 5), new Uint8Array(8))).toThrow(/twice/);
    reducer.bring(1, header('float64', 5), new Uint8Array(16));
    expect(() => reducer.bring(2, header('float64', 5), new Uint8Array(8))).toThrow(/rank 1 brought 16 bytes/);
  });
});

describe('frames', () => {
  it.each([0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])('carry %i bytes', (length) => {
    const bytes = Uint8Array.from({ length }, (_, i) => i % 253), assembler = new Assembler();
    const answers = [...framesOf(header('broadcast', 7, 2), bytes)].map((frame) => assembler.add(frame));
    expect(answers.slice(0, -1).every((answer) => answer === null)).toBe(true);
    expect(answers.at(-1)!.header).toEqual(header('broadcast', 7, 2));
    expect(Buffer.compare(answers.at(-1)!.bytes, bytes)).toBe(0);
  });

  it('are told from rubbish', () => {
    expect(() => new Assembler().add(Buffer.from('GET / HTTP/1.1'))).toThrow(/none of the exchange/);
    expect(() => new Assembler().add(Buffer.alloc(3))).toThrow(/none of the exchange/);
  });
});

describe('bfloat16', () => {
  it('is nearest, and is itself once it is', () => {
    fc.assert(fc.property(fc.float({ noNaN: true }), (value) => {
      const [near] = fromBfloat16(toBfloat16(Float32Array.of(value)));
      expect(toBfloat16(Float32Array.of(near!))).toEqual(toBfloat16(Float32Array.of(value)));
      if (Math.abs(value) > 1e-37 && Math.abs(value) < 3e38) expect(Math.abs(near! - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -8);
    }));
    expect(fromBfloat16(toBfloat16(Float32Array.of(NaN, Infinity, -0, 1 + 2 ** -8, 1 + 3 * 2 ** -8)))).toEqual(Float32Array.of(NaN, Infinity, -0, 1, 1 + 2 ** -6));
  });
});

describe('the layout of buckets', () => {
  it('gives every parameter a place of its own, from the last to the first, and every rank an equal share', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 4_000_000 }), { minLength: 1, maxLength: 40 }), fc.integer({ min: 2, max: 9 }), (sizes, worldSize) => {
      const parameters = sizes.map((size) => ({ size }));
      const buckets = layBuckets(parameters, worldSize);
      expect(buckets.flatMap(({ entries }) => entries.map(({ parameter }) => parameter))).toEqual([...parameters].reverse());
      for (const { entries, length } of buckets) {
        expect(length % worldSize).toBe(0);
        entries.forEach(({ parameter, offset }, i) => expect(offset + parameter.size).toBeLessThanOrEqual(entries[i + 1]?.offset ?? length));
      }
    }));
  });

  it('is a small first bucket, then of 25 MB, and in the end of half of what is left, for nothing hides the last one', () => {
    const lengths = (count: number) => layBuckets(Array.from({ length: count }, () => ({ size: 100_000 })), 2).map(({ entries }) => entries.length);
    expect(lengths(100)).toEqual([3, 49, 24, 12, 6, 3, 3]);
    expect(lengths(300).slice(0, 4)).toEqual([3, 63, 63, 63]);
    expect(lengths(300).at(-1)).toBeLessThanOrEqual(3);
  });
});
