import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../testing/pictures.js';
import { drawDataset } from './draw-dataset.js';
import { drawPicture } from './draw-picture.js';

describe('the drawn data set', () => {
  it('has both classes alike, and is the same for the same seed', async () => {
    await using folder = await temporaryFolder();
    const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder.path, name)) as [string, string, string];
    expect(await drawDataset(a, { count: 6, size: 48, seed: 3 })).toEqual({ classes: ['camouflage_clothes', 'normal_clothes'], counts: { camouflage_clothes: 3, normal_clothes: 3 } });
    await drawDataset(b, { count: 6, size: 48, seed: 3 });
    await drawDataset(c, { count: 6, size: 48, seed: 4 });
    const file = (root: string) => readFile(join(root, 'normal_clothes', '0001.jpg'));
    expect(await file(a)).toEqual(await file(b));
    expect(await file(a)).not.toEqual(await file(c));
    await expect(drawDataset(a, { count: 6 })).rejects.toThrow(/not empty/);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    await using folder = await temporaryFolder();
    const stop = new AbortController();
    const drawing = drawDataset(join(folder.path, 'x'), { count: 40, size: 48, signal: stop.signal, onProgress: (done) => done === 3 && stop.abort(new Error('enough')) });
    await expect(drawing).rejects.toThrow('enough');
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('does not give its class away by colour alone', () => {
    const mean = (index: number, className: 'camouflage_clothes' | 'normal_clothes') => {
      const { data } = drawPicture({ seed: 5, index, className }, 40);
      const sums = [0, 0, 0];
      data.forEach((level, i) => (sums[i % 3]! += level / (data.length / 3)));
      return sums;
    };
    const drawn = Array.from({ length: 160 }, (_, index) => ({ label: index % 2, colour: mean(index, index % 2 === 0 ? 'camouflage_clothes' : 'normal_clothes') }));
    const [learnt, judged] = [drawn.slice(0, 80), drawn.slice(80)];
    const centre = (label: number) => [0, 1, 2].map((c) => learnt.filter((p) => p.label === label).reduce((sum, p) => sum + p.colour[c]!, 0) / 40);
    const [a, b] = [centre(0), centre(1)];
    const distance = (x: number[], y: number[]) => Math.hypot(...x.map((value, c) => value - y[c]!));
    const right = judged.filter((p) => (distance(p.colour, a) < distance(p.colour, b) ? 0 : 1) === p.label).length;
    expect(right / judged.length).toBeLessThan(0.75);
  });
});
