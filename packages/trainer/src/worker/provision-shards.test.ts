import { readFile, readdir, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { INDEX_NAME, type ShardIndex, makeManifest, openDataset, packShards } from '@chameleon/data';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { channelCredentials, tokenMetadata } from '../coordinator/security.js';
import { type RunningCoordinator, startCoordinator } from '../coordinator/start.js';
import type { FileWanted, Welcome } from '../generated/chameleon/trainer/v1/trainer.js';
import { drawSmallDataset, smallConfig, temporaryFolder } from '../testing/small-run.js';
import { openClient } from './connection.js';
import type { DataCache } from './data-cache.js';
import { type Provision, provision } from './provision.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>, index: ShardIndex, names: string[];
beforeAll(async () => {
  folder = await temporaryFolder();
  await drawSmallDataset(join(folder.path, 'photos'));
  index = await packShards(join(folder.path, 'photos'), join(folder.path, 'packed'), { shardBytes: 8_000 });
  names = index.shards.map(({ file }) => file);
});
afterAll(() => folder[Symbol.asyncDispose]());

let count = 0;
const newCache = (maxBytes = 1e9): DataCache => ({ folder: join(folder.path, `cache-${count++}`), maxBytes });

async function start(): Promise<RunningCoordinator> {
  const running = await startCoordinator({ config: smallConfig(join(folder.path, 'packed')), out: folder.path, path: join(folder.path, `run-${count++}`) }, { listen: '127.0.0.1:0', security: { token: 'of the tests', tls: null }, minWorkers: 1, maxWorkers: 2, detectionMs: 600, joinWindowMs: 100, maxFailures: 3, balance: false, exchange: 'gloo' }, { backend: 'none' });
  onTestFinished(() => running.close());
  return running;
}

const connect = async ({ port }: RunningCoordinator) => {
  const client = openClient({ host: '127.0.0.1', port, credentials: await channelCredentials(null), metadata: tokenMetadata('of the tests') });
  onTestFinished(() => client.close());
  return client;
};

/** What a worker of a machine does; without `data`, of one where the coordinator's folder is not. */
async function provideThere(running: RunningCoordinator, { cache, data }: { cache: DataCache; data?: string }): Promise<Provision & { lines: string[] }> {
  const lines: string[] = [], { welcome } = running.coordinator.parts;
  const said: Welcome = { ...welcome, runId: running.id, runDirectory: running.path, detectionMs: 600, configJson: JSON.stringify({ ...(JSON.parse(welcome.configJson) as object), data: '/nowhere/packed' }) };
  const provided = await provision({ client: await connect(running), metadata: tokenMetadata('of the tests'), welcome: said, data, cache, patienceMs: 10_000, signal: new AbortController().signal, log: (line) => lines.push(line), onPhase: () => undefined });
  onTestFinished(() => provided.release());
  return { ...provided, lines };
}

/** Puts a shard back after a test. */
async function keep(name: string): Promise<string> {
  const path = join(folder.path, 'packed', name), bytes = await readFile(path);
  onTestFinished(() => writeFile(path, bytes));
  return path;
}

describe('a machine without the shards', () => {
  it('gets the index and then shard by shard, once for all its workers, and keeps them', async () => {
    const running = await start(), cache = newCache();
    const workers = await Promise.all([provideThere(running, { cache }), provideThere(running, { cache })]);
    const [{ config, manifest }] = workers;
    expect(config.data).toBe(join(cache.folder, running.coordinator.parts.welcome.shardsSha256, 'files'));
    expect((await readdir(config.data)).sort()).toEqual([...names, INDEX_NAME]);
    expect(names.length).toBeGreaterThan(2);
    for (const name of [...names, INDEX_NAME]) expect((await readFile(join(config.data, name))).equals(await readFile(join(folder.path, 'packed', name)))).toBe(true);
    expect(workers.flatMap(({ lines }) => lines.filter((line) => line.startsWith('fetching shards:')))).toEqual([expect.stringContaining(`fetching shards: ${names.length} files, `)]);
    expect(await makeManifest(await openDataset(config.data))).toEqual(manifest);
  });

  it('fetches again what was damaged in its cache since, and nothing else', async () => {
    const running = await start(), cache = newCache();
    const { config } = await provideThere(running, { cache });
    const shard = join(config.data, names[1]!), bytes = await readFile(shard);
    bytes[600]! ^= 1;
    await writeFile(shard, bytes);
    const later = await provideThere(running, { cache });
    expect(later.lines[0]).toMatch(/^fetching shards: 1 file, /);
    expect((await readFile(shard)).equals(await readFile(join(folder.path, 'packed', names[1]!)))).toBe(true);
    expect((await provideThere(running, { cache })).lines).toEqual([]);
    await truncate(join(config.data, INDEX_NAME), 100);
    expect((await provideThere(running, { cache })).lines).toEqual([]);
    expect((await readFile(join(config.data, INDEX_NAME))).equals(await readFile(join(folder.path, 'packed', INDEX_NAME)))).toBe(true);
  });

  it('is told which shard was changed, cut or removed on the coordinator’s machine', async () => {
    const running = await start(), path = await keep(names[0]!);
    const bytes = await readFile(path);
    bytes[700]! ^= 1;
    await writeFile(path, bytes);
    await expect(provideThere(running, { cache: newCache() })).rejects.toThrow(/shard-000000\.tar came 3 times with other bytes than the run began with/);
    await truncate(path, 1000);
    await expect(provideThere(running, { cache: newCache() })).rejects.toThrow(/shard-000000\.tar was changed on the coordinator's machine since the run began: it has 1000 bytes/);
    await rm(path);
    await expect(provideThere(running, { cache: newCache() })).rejects.toThrow(/shard-000000\.tar can't be read on the coordinator's machine any more \(ENOENT\)/);
    await expect(provideThere(running, { cache: newCache(1_000) })).rejects.toThrow(/more than the cache in .* may hold/);
  });
});

describe('a machine with pictures of its own', () => {
  it('may have the folder instead of the shards, and other shards of it', async () => {
    const running = await start(), cache = newCache(), other = join(folder.path, 'other');
    await packShards(join(folder.path, 'photos'), other, { shardBytes: 4_000 });
    for (const data of [join(folder.path, 'photos'), other]) expect(await provideThere(running, { cache, data })).toMatchObject({ config: { data }, lines: [] });
    await expect(readdir(cache.folder)).rejects.toThrow(/ENOENT/);
  });

  it('is refused where a picture is another, by the index alone', async () => {
    const running = await start(), photos = join(folder.path, 'photos'), other = join(folder.path, 'changed');
    await rename(join(photos, 'plain', '002.png'), join(photos, 'plain', 'kept'));
    await writeFile(join(photos, 'plain', '002.png'), await readFile(join(photos, 'plain', '003.png')));
    await packShards(photos, other, { shardBytes: 8_000 });
    await rename(join(photos, 'plain', 'kept'), join(photos, 'plain', '002.png'));
    await expect(provideThere(running, { cache: newCache(), data: other })).rejects.toThrow(/The pictures in .*changed are not those of this run: 1 of 30 files are others, among them plain\/002\.png/);
  });
});

describe('the coordinator hands out', () => {
  it('its shards by number, and no single pictures', async () => {
    const running = await start(), client = await connect(running);
    const ask = async (what: FileWanted['what']) => {
      for await (const _ of client.getFiles({ runId: running.id, files: [{ what, offset: 0 }] }, tokenMetadata('of the tests'), { deadline: Date.now() + 10_000 }) as AsyncIterable<unknown>);
    };
    await ask({ $case: 'shard', value: names.length - 1 });
    await ask({ $case: 'shardIndex', value: true });
    await expect(ask({ $case: 'shard', value: names.length })).rejects.toThrow(/The run has no such file/);
    await expect(ask({ $case: 'picture', value: 0 })).rejects.toThrow(/The run has no such file/);
  });
});
