import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, readlink, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDataset } from '../check.js';
import { type Dataset, openDataset, openForJudging } from '../dataset.js';
import { type Batch, PictureLoader } from '../loader.js';
import { makeManifest, openListed, verifyManifest } from '../manifest.js';
import { PictureReader } from '../pictures.js';
import { drawClasses, picture, temporaryFolder } from '../testing/pictures.js';
import { DEFAULT_AUGMENTATION } from '../transforms.js';
import { packShards } from './pack-shards.js';
import { INDEX_NAME, type ShardIndex, parseShardIndex } from './shard-index.js';

/** Class folders in `photos` and their shards in `packed`, a few pictures each. */
async function packedFolder(draw: (photos: string) => Promise<void> = (photos) => drawClasses(photos, { ant: 12, zebra: 11 }), shardBytes = 20_000) {
  const folder = await temporaryFolder();
  const photos = join(folder.path, 'photos'), packed = join(folder.path, 'packed');
  await draw(photos);
  const index = await packShards(photos, packed, { shardBytes });
  return { path: folder.path, photos, packed, index, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

const long = `${'a long name, '.repeat(15)}.png`;
const odd = async (photos: string) => {
  await drawClasses(join(photos, 'train'), { Ameise: 5, 'zèbre ü': 5 });
  await drawClasses(join(photos, 'val'), { Ameise: 2, 'zèbre ü': 2 });
  await mkdir(join(photos, 'train', 'Ameise', 'more', 'deep'), { recursive: true });
  for (const [i, name] of [long, 'ふしぎ.png', 'two\nlines.png', '-x.png'].entries()) await picture(40, 36, 200 + i).png().toFile(join(photos, 'train', 'Ameise', 'more', 'deep', name));
  await writeFile(join(photos, 'train', 'Ameise', 'notes.txt'), 'not packed');
};

/** All but where it lies. */
const told = ({ classes, train, valid, split, skipped }: Dataset) => ({ classes, train, valid, split, skipped });
const collect = async (batches: AsyncIterable<Batch>) => {
  const all: (Omit<Batch, 'pixels'> & { pixels: string })[] = [];
  for await (const batch of batches) all.push({ ...batch, pixels: createHash('sha256').update(batch.pixels).digest('hex') });
  return all;
};
const plan = { seed: 3, epoch: 1, batchSize: 8, augmentation: DEFAULT_AUGMENTATION };
const openShardFiles = async () => {
  const links = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return [...new Set(links.flatMap((link) => /shard-\d+\.tar$/.exec(link)?.[0] ?? []))].sort();
};
const editIndex = async (packed: string, edit: (index: ShardIndex) => object | void) => {
  const path = join(packed, INDEX_NAME), index = parseShardIndex(await readFile(path, 'utf8'), path);
  await writeFile(path, JSON.stringify(edit(index) ?? index));
};

describe('shards', () => {
  it.each([['of class folders', undefined], ['of train and val, with odd names', odd]])('%s are the same data set as the folder', async (_, draw) => {
    await using given = await packedFolder(draw);
    expect(given.index.shards.length).toBeGreaterThan(1);
    for (const split of draw ? (['auto', 'folders'] as const) : (['auto', 'stratified'] as const)) {
      const [folder, shards] = [await openDataset(given.photos, { split, seed: 4 }), await openDataset(given.packed, { split, seed: 4 })];
      expect(told(shards)).toEqual(told(folder));
      expect(JSON.stringify(await makeManifest(shards))).toBe(JSON.stringify(await makeManifest(folder)));
    }
    expect(told(await openForJudging(given.packed))).toEqual(told(await openForJudging(given.photos)));
    const [folder, shards] = [await openDataset(given.photos), await openDataset(given.packed)];
    await using ofFolder = new PictureLoader(folder, { imageSize: 24, workers: 2 });
    await using ofShards = new PictureLoader(shards, { imageSize: 24, workers: 2 });
    expect(await collect(ofShards.train(plan))).toEqual(await collect(ofFolder.train(plan)));
    expect(await collect(ofShards.valid(plan))).toEqual(await collect(ofFolder.valid(plan)));
    expect({ ...(await checkDataset(given.packed)), otherFiles: 0 }).toEqual({ ...(await checkDataset(given.photos)), otherFiles: 0 });
    const manifest = await makeManifest(folder);
    expect(await verifyManifest(given.packed, manifest)).toEqual({ missing: [], changed: [] });
    expect(told(await openListed(given.packed, manifest))).toEqual(told(folder));
  });

  it('are tars that the system’s tar unpacks into the same files', async () => {
    await using given = await packedFolder(odd);
    const names = given.index.shards.flatMap(({ file }) => execFileSync('tar', ['--quoting-style=literal', '--null', '-tf', join(given.packed, file)], { encoding: 'utf8' }).split(/\n(?!lines)/).filter((name) => name !== ''));
    const expected = given.index.shards.flatMap(({ entries }) => entries.map(({ name }) => name));
    expect(names).toEqual(expected);
    expect(expected).toHaveLength(18);
    const out = join(given.path, 'out');
    await mkdir(out);
    for (const { file } of given.index.shards) execFileSync('tar', ['-xf', join(given.packed, file), '-C', out]);
    for (const name of expected) expect((await readFile(join(out, name))).equals(await readFile(join(given.photos, name)))).toBe(true);
    const listed = execFileSync('tar', ['--utc', '--numeric-owner', '-tvf', join(given.packed, given.index.shards[0]!.file)], { encoding: 'utf8' });
    expect(listed).toMatch(/^-rw-r--r-- 0\/0 +\d+ 1970-01-01 00:00 train\/Ameise\/000\.png$/m);
  });

  it('have the same bytes whenever they are packed, from the folder or from other shards, and none is too large', async () => {
    await using given = await packedFolder();
    const again = join(given.path, 'again'), other = join(given.path, 'other');
    await utimes(join(given.photos, 'ant', '003.png'), 1e9, 1e9);
    await packShards(given.photos, again, { shardBytes: 20_000 });
    await packShards(again, other, { shardBytes: 20_000 });
    const names = (await readdir(given.packed)).sort();
    expect(names).toEqual([...given.index.shards.map(({ file }) => file), INDEX_NAME]);
    for (const name of names) {
      const bytes = await readFile(join(given.packed, name));
      expect(bytes.equals(await readFile(join(again, name)))).toBe(true);
      expect(bytes.equals(await readFile(join(other, name)))).toBe(true);
      if (name !== INDEX_NAME) expect(bytes.length).toBeLessThanOrEqual(20_000);
    }
  });

  it('give every entry back from where the index says, whatever the sizes and names', async () => {
    const name = fc.stringMatching(/^[\wäß -]{1,120}$/).filter((text) => text.trim() !== '');
    const file = fc.tuple(fc.constantFrom('a', 'b', 'c/d'), name, fc.uint8Array({ maxLength: 3_000 }));
    await fc.assert(fc.asyncProperty(fc.uniqueArray(file, { minLength: 2, maxLength: 12, selector: ([folder, text]) => `${folder}/${text}` }), fc.integer({ min: 1, max: 9_000 }), async (files, shardBytes) => {
      await using folder = await temporaryFolder();
      const photos = join(folder.path, 'photos'), packed = join(folder.path, 'packed');
      const all = [['a', '0', new Uint8Array(0)], ['b', '0', new Uint8Array(512)], ...files.map(([under, text, bytes]) => [under, `${text}_`, bytes] as const)] as const;
      for (const [under, text, bytes] of all) {
        await mkdir(join(photos, under), { recursive: true });
        await writeFile(join(photos, under, `${text}.png`), bytes);
      }
      await packShards(photos, packed, { shardBytes });
      await using reader = await PictureReader.open(packed);
      for (const [under, text, bytes] of all) expect(Buffer.from(await reader.bytes(`${under}/${text}.png`)).equals(bytes)).toBe(true);
    }), { numRuns: 25 });
  });
});

describe('a reader of its own part', () => {
  it('opens the shards that it reads from, and no others', async () => {
    await using given = await packedFolder(undefined, 8_000);
    const names = given.index.shards.map(({ file }) => file);
    expect(names.length).toBeGreaterThan(3);
    const dataset = await openDataset(given.packed);
    expect(await openShardFiles()).toEqual([]);
    const wanted = [0, 2].map((i) => given.index.shards[i]!.entries[0]!.name);
    {
      await using reader = new PictureReader(dataset);
      for (const name of wanted) await reader.bytes(name);
      expect(await openShardFiles()).toEqual([names[0], names[2]]);
    }
    expect(await openShardFiles()).toEqual([]);
    // A loader's threads do without the shards that its rows don't lie in.
    const rows = dataset.train.flatMap(({ path }, i) => (given.index.shards[1]!.entries.some(({ name }) => name === path) ? [i] : []));
    const part = { ...dataset, train: rows.map((i) => dataset.train[i]!) };
    for (const name of names.filter((_, i) => i !== 1)) await rm(join(given.packed, name));
    await using loader = new PictureLoader(part, { imageSize: 16, workers: 2 });
    expect((await collect(loader.train(plan))).reduce((sum, batch) => sum + batch.rows, 0)).toBe(rows.length);
    await using whole = new PictureLoader(dataset, { imageSize: 16, workers: 2 });
    await expect(collect(whole.train(plan))).rejects.toThrow(/can't be read from .*shard-\d+\.tar \(ENOENT\)\. Copy that shard anew, or pass --skip-bad-images/);
  });

  it('keeps a bounded number of them open', async () => {
    await using given = await packedFolder((photos) => drawClasses(photos, { a: 40, b: 40 }), 1);
    expect(given.index.shards).toHaveLength(80);
    await using reader = await PictureReader.open(given.packed);
    const names = given.index.shards.map(({ entries }) => entries[0]!.name);
    await Promise.all(names.map((name) => reader.bytes(name)));
    expect(await openShardFiles()).toHaveLength(64);
    for (const name of names) expect(Buffer.from(await reader.bytes(name)).equals(await readFile(join(given.photos, name)))).toBe(true);
    expect(await openShardFiles()).toHaveLength(64);
  });
});

describe('shards that can’t be used', () => {
  it('are named where one is missing or cut short', async () => {
    await using given = await packedFolder();
    const shard = join(given.packed, 'shard-000001.tar'), bytes = await readFile(shard);
    await truncate(shard, 700);
    await expect(openDataset(given.packed)).rejects.toThrow(`The shard ${shard} has 700 bytes instead of the ${bytes.length} that shards.json says: it was cut short. Copy it anew.`);
    await rm(shard);
    await expect(openDataset(given.packed)).rejects.toThrow(`The shard ${shard} can't be read (ENOENT), and shards.json names it. Copy it there, or mount the whole folder.`);
    await symlink('/nowhere', shard);
    await expect(openDataset(given.packed)).rejects.toThrow(/shard-000001\.tar can't be read/);
  });

  it('name a picture whose bytes are others than the index says, or leave it out', async () => {
    await using given = await packedFolder();
    const shard = join(given.packed, 'shard-000001.tar'), dataset = await openDataset(given.packed), bytes = await readFile(shard);
    const { name, offset } = given.index.shards[1]!.entries.find((entry) => dataset.train.some(({ path }) => path === entry.name))!;
    bytes[offset + 50]! ^= 1;
    await writeFile(shard, bytes);
    const why = 'has other bytes in shard-000001.tar than shards.json says';
    await expect(openDataset(given.packed)).rejects.toThrow(`${name} ${why}. Copy that shard anew, or pass --skip-bad-images to go on without the picture.`);
    expect((await openDataset(given.packed, { skipBadImages: true })).skipped).toEqual([{ path: name, reason: why }]);
    expect((await checkDataset(given.packed)).bad).toEqual([{ path: name, reason: why }, { path: 'shard-000001.tar', reason: 'has other bytes than shards.json says' }]);
    // In the middle of a run.
    await using strict = new PictureLoader({ ...dataset, valid: [] }, { imageSize: 16, workers: 1 });
    await expect(collect(strict.train(plan))).rejects.toThrow(`${name} ${why}`);
    await using lenient = new PictureLoader(dataset, { imageSize: 16, workers: 1, onBadPicture: 'skip' });
    expect((await collect(lenient.train(plan))).reduce((sum, batch) => sum + batch.rows, 0)).toBe(dataset.train.length - 1);
    expect(lenient.skipped).toEqual([{ path: name, reason: why }]);
    // A header's damage harms nobody but other programs: the check sees it.
    bytes[offset + 50]! ^= 1;
    bytes[offset - 500]! ^= 1;
    await writeFile(shard, bytes);
    expect((await checkDataset(given.packed)).bad).toEqual([{ path: 'shard-000001.tar', reason: 'has other bytes than shards.json says' }]);
  });

  it('hold bad pictures as the folder did', async () => {
    await using given = await packedFolder(async (photos) => {
      await drawClasses(photos, { a: 6, b: 6 });
      await writeFile(join(photos, 'a', '003.png'), 'text');
      await writeFile(join(photos, 'b', '004.png'), '');
    });
    await expect(openDataset(given.packed)).rejects.toThrow('a/003.png is not an image we read (found: text). Remove it, or pass --skip-bad-images to go on without it.');
    expect(told(await openDataset(given.packed, { skipBadImages: true }))).toEqual(told(await openDataset(given.photos, { skipBadImages: true })));
  });

  it.each<[string, (index: ShardIndex) => object | void, RegExp]>([
    ['of another version', (index) => ({ ...index, formatVersion: 2 }), /shards\.json has format version 2; this Chameleon reads 1\. Make the shards again/],
    ['without a version', () => ({}), /has format version none/],
    ['that leads out of its folder', (index) => void (index.shards[0]!.entries[0]!.name = 'ant/../../x.png'), /names "ant\/\.\.\/\.\.\/x\.png", which leads out of its folder/],
    ['that leads to another shard file', (index) => void (index.shards[0]!.file = '../shard-000000.tar'), /is no index of shards \(shards\.0\.file:/],
    ['that names a picture twice', (index) => void (index.shards[0]!.entries[1]!.name = index.shards[0]!.entries[0]!.name), /names ant\/000\.png twice/],
    ['that names a shard twice', (index) => void (index.shards[1]!.file = index.shards[0]!.file), /names shard-000000\.tar twice/],
    ['that goes past a shard’s end', (index) => void (index.shards[0]!.entries[0]!.bytes = 1e9), /puts ant\/000\.png past the end of shard-000000\.tar/],
    ['that has a picture of no class', (index) => void (index.shards[0]!.entries[0]!.name = 'bee/000.png'), /names bee\/000\.png, which is of none of its classes/],
    ['that is of something else', (index) => ({ ...index, shards: 3 }), /is no index of shards \(shards: .*\)\. Copy the folder of shards anew/],
  ])('have an index %s', async (_, edit, message) => {
    await using given = await packedFolder();
    await editIndex(given.packed, edit);
    await expect(openDataset(given.packed)).rejects.toThrow(message);
  });

  it('have an index that was cut off, or that is a folder', async () => {
    await using given = await packedFolder();
    await truncate(join(given.packed, INDEX_NAME), 300);
    await expect(openDataset(given.packed)).rejects.toThrow(/shards\.json is not whole: it is no JSON\. Copy the folder of shards anew, or make it again/);
    await rm(join(given.packed, INDEX_NAME));
    await mkdir(join(given.packed, INDEX_NAME));
    await expect(openDataset(given.packed)).rejects.toThrow(/shards\.json can't be read \(EISDIR\)/);
  });
});

describe('packing', () => {
  it('is refused where it would spoil something, and leaves nothing behind', async () => {
    await using folder = await temporaryFolder();
    const photos = join(folder.path, 'photos'), packed = join(folder.path, 'packed');
    await drawClasses(photos, { a: 3, b: 3 });
    await expect(packShards(photos, join(photos, 'packed'))).rejects.toThrow(/lies in .*photos, where it would be taken for a class/);
    await expect(packShards(photos, photos)).rejects.toThrow(/would be taken for a class/);
    await expect(packShards(join(folder.path, 'none'), packed)).rejects.toThrow(/There is no folder .*none/);
    await symlink('/nowhere', join(photos, 'b', '9.png'));
    await expect(packShards(photos, packed)).rejects.toThrow(/photos\/b\/9\.png can't be read \(ENOENT\)\. Mend or remove it, and pack again: nothing was written\./);
    await rm(join(photos, 'b', '9.png'));
    await expect(packShards(photos, packed, { maxPictures: 5 })).rejects.toThrow(/has 6 pictures; an index holds 5 at most/);
    const stop = new AbortController();
    await expect(packShards(photos, packed, { signal: stop.signal, onProgress: (done) => done === 2 && stop.abort(new Error('enough')) })).rejects.toThrow('enough');
    expect(await readdir(folder.path)).toEqual(['photos']);
    await packShards(photos, packed);
    await expect(packShards(photos, packed)).rejects.toThrow(/packed is not empty/);
  });
});
