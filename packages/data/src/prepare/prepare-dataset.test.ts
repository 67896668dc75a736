import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { zipSync } from 'fflate';
import { create, list } from 'tar';
import { describe, expect, it } from 'vitest';
import { openDataset } from '../dataset.js';
import { drawClasses, picture, temporaryFolder } from '../testing/pictures.js';
import { placeOf, prepareDataset } from './prepare-dataset.js';

async function zipOf(path: string, names: string[]): Promise<void> {
  const bytes = new Uint8Array(await picture().jpeg().toBuffer());
  await writeFile(path, zipSync(Object.fromEntries(names.map((name) => [name, bytes]))));
}

/** Where each file's header begins. */
async function entryStarts(archive: string, whole: Buffer): Promise<number[]> {
  await writeFile(archive, whole);
  const sizes: number[] = [];
  await list({ file: archive, onReadEntry: (entry) => sizes.push(512 + 512 * Math.ceil(entry.size / 512)) });
  return sizes.map((_, i) => sizes.slice(0, i).reduce((sum, bytes) => sum + bytes, 0));
}

/** The end of the last entry: what follows is empty. */
const lastEnd = (whole: Buffer): number => 512 * Math.ceil((whole.findLastIndex((byte) => byte !== 0) + 1) / 512);

describe('an archive', () => {
  it('as Kaggle has it becomes a folder of class folders', async () => {
    await using folder = await temporaryFolder();
    const archive = join(folder.path, 'archive.zip'), out = join(folder.path, 'out');
    await zipOf(archive, ['data/camouflage_clothes/1.jpg', 'data/camouflage_clothes/2.jpg', 'data/normal_clothes/1.jpg', 'data/normal_clothes/2.jpg', '__MACOSX/data/._1.jpg', 'data/readme.txt']);
    expect(await prepareDataset('camouflage', archive, out)).toEqual({ counts: { camouflage_clothes: 2, normal_clothes: 2 } });
    expect(await openDataset(out, { validFraction: 0.5 })).toMatchObject({ classes: ['camouflage_clothes', 'normal_clothes'], train: { length: 2 } });
    await expect(prepareDataset('camouflage', archive, out)).rejects.toThrow(/not empty/);
  });

  it('of any classes keeps its train and valid folders, from tar.gz too', async () => {
    await using folder = await temporaryFolder();
    await drawClasses(join(folder.path, 'tiny', 'train'), { n01: 3, n02: 3 });
    await drawClasses(join(folder.path, 'tiny', 'valid'), { n01: 1, n02: 1 });
    const archive = join(folder.path, 'tiny.tar.gz'), out = join(folder.path, 'out');
    await create({ gzip: true, file: archive, cwd: folder.path }, ['tiny']);
    expect(await prepareDataset('folders', archive, out)).toEqual({ counts: { n01: 4, n02: 4 } });
    expect(await openDataset(out)).toMatchObject({ split: 'folders', train: { length: 6 }, valid: { length: 2 } });
    expect(await readFile(join(out, 'train', 'n02', '001.png'))).toEqual(await readFile(join(folder.path, 'tiny', 'train', 'n02', '001.png')));
  });

  it('that leads out of itself, is too large, torn or something else is refused, and nothing is left', async () => {
    await using folder = await temporaryFolder();
    const archive = join(folder.path, 'a.zip'), out = join(folder.path, 'out');
    await zipOf(archive, ['../../evil/x.jpg', 'b/y.jpg']);
    await expect(prepareDataset('folders', archive, out)).rejects.toThrow(/not a whole zip|leads out/);
    await zipOf(archive, ['a/1.jpg', 'b/1.jpg', 'b/2.jpg']);
    await expect(prepareDataset('folders', archive, out, { maxFiles: 2 })).rejects.toThrow(/more than 2 files/);
    await expect(prepareDataset('folders', archive, out, { maxBytes: 100 })).rejects.toThrow(/more than 100 bytes/);
    await expect(prepareDataset('camouflage', archive, out)).rejects.toThrow(/camouflage_clothes/);
    await expect(prepareDataset('camouflag', archive, out)).rejects.toThrow(/Did you mean camouflage/);
    await writeFile(archive, (await readFile(archive)).subarray(0, 200));
    await expect(prepareDataset('folders', archive, out)).rejects.toThrow(/not a whole zip/);
    await writeFile(archive, 'just text, and not an archive at all');
    await expect(prepareDataset('folders', archive, out)).rejects.toThrow(/not a whole tar|classes/);
    await expect(prepareDataset('folders', join(folder.path, 'none.zip'), out)).rejects.toThrow(/can't be read/);
    expect(await readdir(folder.path)).toEqual(['a.zip']);
  });

  it('of tar that is cut anywhere, or can’t be unpacked any further, is refused and not waited for', async () => {
    await using folder = await temporaryFolder();
    await drawClasses(join(folder.path, 'in'), { a: 3, b: 3 });
    const archive = join(folder.path, 'a.tar'), out = join(folder.path, 'out');
    await create({ file: archive, cwd: join(folder.path, 'in') }, ['a', 'b']);
    const whole = await readFile(archive);
    for (const share of [0.15, 0.3, 0.4]) {
      await writeFile(archive, whole.subarray(0, Math.floor(share * whole.length)));
      await expect(prepareDataset('folders', archive, out)).rejects.toThrow(/not a whole tar|a classifier needs two/);
    }
    // Exactly after an entry: all that is there is whole, and still not all.
    const starts = await entryStarts(archive, whole);
    for (const at of [starts[2]!, starts.at(-1)!, lastEnd(whole)]) {
      await writeFile(archive, whole.subarray(0, at));
      await expect(prepareDataset('folders', archive, out), `cut at ${at}`).rejects.toThrow(/not a whole tar archive: it ends between two of its files, so it was cut off/);
    }
    await writeFile(archive, gzipSync(whole.subarray(0, lastEnd(whole))));
    await expect(prepareDataset('folders', archive, out)).rejects.toThrow(/so it was cut off/);
    await writeFile(archive, whole);
    await expect(prepareDataset('folders', archive, out, { maxFiles: 2 })).rejects.toThrow(/more than 2 files/);
    expect((await readdir(folder.path)).sort()).toEqual(['a.tar', 'in']);
  });

  it('with links gives their targets away to nobody', async () => {
    await using folder = await temporaryFolder();
    const { symlink } = await import('node:fs/promises');
    for (const label of ['a', 'b']) {
      await mkdir(join(folder.path, 'in', label), { recursive: true });
      await picture().png().toFile(join(folder.path, 'in', label, '1.png'));
    }
    await symlink('/etc/passwd', join(folder.path, 'in', 'a', '2.png'));
    const archive = join(folder.path, 'l.tar');
    await create({ file: archive, cwd: join(folder.path, 'in') }, ['a', 'b']);
    expect(await prepareDataset('folders', archive, join(folder.path, 'out'))).toEqual({ counts: { a: 1, b: 1 } });
  });

  it('says where a picture goes', () => {
    expect(placeOf('x/train/cat/1.jpg', null, 'a')).toEqual({ folder: 'train/cat', label: 'cat' });
    expect(placeOf('cat/1.txt', null, 'a')).toBeNull();
    expect(() => placeOf('/etc/1.jpg', null, 'a')).toThrow(/leads out/);
    expect(() => placeOf('a/../../1.jpg', null, 'a')).toThrow(/leads out/);
  });
});
