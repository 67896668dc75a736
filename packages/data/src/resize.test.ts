import { readFile } from 'node:fs/promises';
import { randomStream } from '@chameleon/core';
import { describe, expect, it } from 'vitest';
import { type Box, type RgbImage, resizeBilinear } from './resize.js';

/** One output level as Pillow's Resample.c defines it, pass by pass, without anything that makes it fast. */
function reference({ data, width }: RgbImage, box: Box, size: { width: number; height: number }): Uint8Array {
  const pass = (input: (i: number) => number, inputs: number, outputs: number, at: number): number => {
    const scale = inputs / outputs, support = Math.max(scale, 1), center = (at + 0.5) * scale;
    const start = Math.max(Math.trunc(center - support + 0.5), 0), end = Math.min(Math.trunc(center + support + 0.5), inputs);
    const weights = Array.from({ length: end - start }, (_, k) => Math.max(1 - Math.abs((start + k - center + 0.5) / support), 0));
    const sum = weights.reduce((a, b) => a + b);
    return weights.reduce((level, weight, k) => level + input(start + k) * Math.trunc(0.5 + (weight / sum) * 2 ** 22), 2 ** 21) >> 22;
  };
  return Uint8Array.from({ length: size.width * size.height * 3 }, (_, i) => {
    const c = i % 3, x = Math.floor(i / 3) % size.width, y = Math.floor(i / 3 / size.width);
    return pass((row) => pass((column) => data[((box.top + row) * width + box.left + column) * 3 + c]!, box.width, size.width, x), box.height, size.height, y);
  });
}

function randomImage(width: number, height: number): RgbImage {
  const random = randomStream('resize', width, height);
  return { data: Uint8Array.from({ length: width * height * 3 }, () => random.integer(256)), width, height };
}

describe('resizing', () => {
  const cases: [image: [number, number], box: Box, size: [number, number]][] = [
    [[40, 30], { left: 0, top: 0, width: 40, height: 30 }, [17, 19]],
    [[40, 30], { left: 7, top: 5, width: 21, height: 13 }, [17, 19]],
    [[40, 30], { left: 39, top: 29, width: 1, height: 1 }, [5, 3]],
    [[1, 50], { left: 0, top: 0, width: 1, height: 50 }, [3, 4]],
    [[50, 1], { left: 0, top: 0, width: 50, height: 1 }, [1, 1]],
    [[200, 120], { left: 3, top: 1, width: 197, height: 119 }, [6, 5]],
    [[16, 16], { left: 0, top: 0, width: 16, height: 16 }, [16, 16]],
    // Rows of a megabyte: copied one at a time.
    [[350_000, 4], { left: 100, top: 1, width: 349_900, height: 3 }, [5, 2]],
  ];
  it.each(cases)('of %j, the box %j to %j, gives the levels of the definition', ([width, height], box, size) => {
    const image = randomImage(width, height), to = { width: size[0], height: size[1] };
    expect(Buffer.compare(resizeBilinear(image, box, to).data, reference(image, box, to))).toBe(0);
  });

  it('to a window gives that part of the whole', () => {
    const image = randomImage(61, 47), box = { left: 2, top: 3, width: 58, height: 41 }, size = { width: 31, height: 29 };
    const whole = resizeBilinear(image, box, size), window = { left: 9, top: 11, width: 13, height: 7 };
    const part = Array.from({ length: window.height }, (_, y) => [...whole.data.subarray(((window.top + y) * 31 + window.left) * 3, ((window.top + y) * 31 + window.left + window.width) * 3)]);
    expect([...resizeBilinear(image, box, size, window).data]).toEqual(part.flat());
  });

  it('runs what assembly/resize.ts compiles to', async () => {
    const { compile } = (await import(new URL('../assembly/compile.mjs', import.meta.url).href)) as { compile: () => Promise<string> };
    expect(await readFile(new URL('generated/resize-wasm.ts', import.meta.url), 'utf8'), 'run: node assembly/compile.mjs').toBe(await compile());
  });
});
