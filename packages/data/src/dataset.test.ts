import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDataset } from './check.js';
import { openDataset, openForJudging } from './dataset.js';
import { makeManifest, manifestSchema, verifyManifest } from './manifest.js';
import { splitPictures } from './split.js';
import { drawClasses, picture, temporaryFolder } from './testing/pictures.js';

describe('a folder of class folders', () => {
  it('has its classes in order, and the first fifth of each for validation', async () => {
    await using folder = await temporaryFolder();
    await drawClasses(folder.path, { zebra: 10, ant: 5 });
    await mkdir(join(folder.path, 'ant', 'more'));
    await picture().jpeg().toFile(join(folder.path, 'ant', 'more', 'x.JPG'));
    await writeFile(join(folder.path, 'ant', 'notes.txt'), 'text');
    const dataset = await openDataset(folder.path);
    expect(dataset).toMatchObject({ classes: ['ant', 'zebra'], split: 'article', skipped: [], otherFiles: 1 });
    expect(dataset.valid.map((p) => p.path)).toEqual(['ant/000.png', 'zebra/000.png', 'zebra/001.png']);
    expect(dataset.train).toHaveLength(13);
  });

  it('with train and val inside is split as it lies; judging takes val alone', async () => {
    await using folder = await temporaryFolder();
    await drawClasses(join(folder.path, 'train'), { a: 3, b: 3 });
    await drawClasses(join(folder.path, 'val'), { a: 2, b: 1 });
    expect(await openDataset(folder.path)).toMatchObject({ split: 'folders', train: { length: 6 }, valid: { length: 3 } });
    expect(await openForJudging(folder.path)).toMatchObject({ train: [], valid: { length: 3 } });
    expect(await openForJudging(join(folder.path, 'train'))).toMatchObject({ train: [], valid: { length: 6 } });
  });

  it('that can’t be used says why and what to do', async () => {
    await using folder = await temporaryFolder();
    const root = folder.path;
    await expect(openDataset(join(root, 'nowhere'))).rejects.toThrow(/nowhere/);
    await expect(openDataset(root)).rejects.toThrow(/no class folders/);
    await writeFile(join(root, 'file'), '');
    await expect(openDataset(join(root, 'file'))).rejects.toThrow(/file/);
    await drawClasses(root, { only: 5 });
    await expect(openDataset(root)).rejects.toThrow(/one class only \(only\)/);
    await mkdir(join(root, 'empty'));
    await expect(openDataset(root)).rejects.toThrow(/empty has no picture/);
    await expect(openDataset(root, { validFraction: 2 })).rejects.toThrow(/between 0 and 1/);
  });

  it('names a bad picture, or lists it', async () => {
    await using folder = await temporaryFolder();
    await drawClasses(folder.path, { a: 6, b: 6 });
    await writeFile(join(folder.path, 'a', '003.png'), 'text');
    await writeFile(join(folder.path, 'b', '004.png'), '');
    await expect(openDataset(folder.path)).rejects.toThrow('a/003.png is not an image we read (found: text). Remove it, or pass --skip-bad-images to go on without it.');
    const { skipped, train, valid } = await openDataset(folder.path, { skipBadImages: true });
    expect(skipped.map((file) => file.path)).toEqual(['a/003.png', 'b/004.png']);
    expect(train.length + valid.length).toBe(10);
  });
});

describe('a split', () => {
  const folders = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 2, maxLength: 5 }).map((counts) => counts.flatMap((count, label) => Array.from({ length: count }, (_, i) => ({ path: `${label}/${i}`, label }))));

  it('takes each picture once, of each class the same share, and depends on the seed alone', () => {
    fc.assert(
      fc.property(folders, fc.constantFrom('article' as const, 'stratified' as const), fc.double({ min: 0.05, max: 0.9, noNaN: true }), fc.nat(1000), (pictures, method, fraction, seed) => {
        const { train, valid } = splitPictures(pictures, method, fraction, seed);
        expect([...train, ...valid].map((p) => p.path).sort()).toEqual(pictures.map((p) => p.path).sort());
        for (const label of new Set(pictures.map((p) => p.label))) {
          const count = pictures.filter((p) => p.label === label).length;
          expect(valid.filter((p) => p.label === label)).toHaveLength(Math.floor(count * fraction + 1e-9));
        }
        expect(splitPictures(pictures, method, fraction, seed).valid).toEqual(valid);
      }),
    );
  });
});

describe('a manifest', () => {
  it('tells files that are missing or changed', async () => {
    await using folder = await temporaryFolder();
    await drawClasses(folder.path, { a: 5, b: 5 });
    const manifest = manifestSchema.parse(JSON.parse(JSON.stringify(await makeManifest(await openDataset(folder.path)))));
    expect(manifest.files).toHaveLength(10);
    expect(await verifyManifest(folder.path, manifest)).toEqual({ missing: [], changed: [] });
    await rm(join(folder.path, 'a', '001.png'));
    await writeFile(join(folder.path, 'b', '002.png'), await readFile(join(folder.path, 'b', '003.png')));
    expect(await verifyManifest(folder.path, manifest)).toEqual({ missing: ['a/001.png'], changed: ['b/002.png'] });
  });
});

describe('a check', () => {
  it('finds bad files, duplicates, leaks and contradictions', async () => {
    await using folder = await temporaryFolder();
    const root = folder.path;
    await drawClasses(join(root, 'train'), { a: 4, b: 2 });
    await drawClasses(join(root, 'val'), { a: 1, b: 1 });
    await picture(60, 60, 90).png().toFile(join(root, 'val', 'a', '000.png'));
    const bytes = await readFile(join(root, 'train', 'a', '000.png'));
    await writeFile(join(root, 'train', 'a', 'again.png'), bytes);
    await writeFile(join(root, 'val', 'b', 'leak.png'), await readFile(join(root, 'train', 'a', '001.png')));
    await writeFile(join(root, 'train', 'b', 'cut.png'), bytes.subarray(0, 60));
    const found = await checkDataset(root);
    expect(found.bad.map((file) => file.path)).toEqual(['train/b/cut.png']);
    expect(found.duplicates).toEqual([['train/a/000.png', 'train/a/again.png']]);
    expect(found.leaks).toContainEqual(['train/a/001.png', 'val/b/leak.png']);
    expect(found.contradictions).toContainEqual(['train/a/001.png', 'val/b/leak.png']);
    expect(found.imbalance).toBeCloseTo(5 / 3);
  });
});
