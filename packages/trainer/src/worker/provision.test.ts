import { execFileSync, spawnSync } from 'node:child_process';
import { copyFile, mkdir, readFile, readdir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type CoordinatorOptions, type RunPlace, type RunningCoordinator, startCoordinator } from '../coordinator/start.js';
import { channelCredentials, tokenMetadata } from '../coordinator/security.js';
import { sha256 } from '../files.js';
import type { FileWanted, Welcome } from '../generated/chameleon/trainer/v1/trainer.js';
import { endProcesses, startWorkerProcess } from '../testing/processes.js';
import { drawSmallDataset, smallConfig, temporaryFolder } from '../testing/small-run.js';
import { tcpProxy } from '../testing/tcp-proxy.js';
import { openClient } from './connection.js';
import type { DataCache } from './data-cache.js';
import { fetchFiles } from './fetch-files.js';
import { type Provision, placeIn, provision } from './provision.js';

/** Pictures of noise, about 0.5 MB each, so that a file takes several parts. */
const PER_CLASS = 6, SIDE = 400;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
  let state = 1;
  for (const name of ['a', 'b']) {
    await mkdir(join(folder.path, 'data', name), { recursive: true });
    for (let i = 0; i < PER_CLASS; i++) {
      const noise = Uint8Array.from({ length: SIDE * SIDE * 3 }, () => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 24);
      await sharp(noise, { raw: { width: SIDE, height: SIDE, channels: 3 } }).png({ compressionLevel: 0 }).toFile(join(folder.path, 'data', name, `${i}.png`));
    }
  }
});
afterEach(endProcesses);
afterAll(() => folder[Symbol.asyncDispose]());

let count = 0;
const options = (more: Partial<CoordinatorOptions> = {}): CoordinatorOptions => ({ listen: '127.0.0.1:0', security: { token: 'of the tests', tls: null }, minWorkers: 1, maxWorkers: 2, detectionMs: 600, joinWindowMs: 100, maxFailures: 3, balance: false, exchange: 'gloo', ...more });
async function start(place?: RunPlace, more: Partial<CoordinatorOptions> = {}): Promise<RunningCoordinator> {
  const running = await startCoordinator(place ?? { config: smallConfig(join(folder.path, 'data')), out: folder.path, path: join(folder.path, `run-${count++}`) }, options(more), { backend: 'none' });
  onTestFinished(() => running.close());
  return running;
}

const newCache = (maxBytes = 1e9): DataCache => ({ folder: join(folder.path, `cache-${count++}`), maxBytes });

interface Fetching {
  cache: DataCache;
  port?: number;
  patienceMs?: number;
  welcome?: Partial<Welcome>;
}

/** What a worker of a machine does where the coordinator's folder is not. */
async function fetchThere(running: RunningCoordinator, { cache, port = running.port, patienceMs = 10_000, welcome = {} }: Fetching): Promise<Provision & { lines: string[] }> {
  const client = openClient({ host: '127.0.0.1', port, credentials: await channelCredentials(null), metadata: tokenMetadata('of the tests') });
  onTestFinished(() => client.close());
  const lines: string[] = [];
  const { configJson } = running.coordinator.parts.welcome;
  const said: Welcome = { ...running.coordinator.parts.welcome, runId: running.id, runDirectory: running.path, detectionMs: 600, configJson: JSON.stringify({ ...(JSON.parse(configJson) as object), data: '/nowhere/data' }), ...welcome };
  const provided = await provision({ client, metadata: tokenMetadata('of the tests'), welcome: said, data: undefined, cache, patienceMs, signal: new AbortController().signal, log: (line) => lines.push(line), onPhase: () => undefined });
  onTestFinished(() => provided.release());
  return { ...provided, lines };
}

const fetchLines = (lines: string[]) => lines.filter((line) => line.startsWith('fetching pictures: 1'));

async function expectSame(root: string): Promise<void> {
  for (const name of ['a', 'b']) {
    expect((await readdir(join(root, name))).sort()).toEqual(Array.from({ length: PER_CLASS }, (_, i) => `${i}.png`));
    for (let i = 0; i < PER_CLASS; i++) expect((await readFile(join(root, name, `${i}.png`))).equals(await readFile(join(folder.path, 'data', name, `${i}.png`)))).toBe(true);
  }
}

/** Puts a picture back after a test. */
async function keep(name: string): Promise<string> {
  const path = join(folder.path, 'data', name), beside = join(folder.path, `kept-${count++}`);
  await copyFile(path, beside);
  onTestFinished(() => rename(beside, path));
  return path;
}

describe('a machine without the pictures', () => {
  it('gets them from the coordinator’s, once for all its workers, and keeps them', async () => {
    const running = await start(), cache = newCache();
    const workers = await Promise.all([fetchThere(running, { cache }), fetchThere(running, { cache })]);
    await expectSame(workers[0].config.data);
    expect(workers[1].config.data).toBe(workers[0].config.data);
    expect(workers.flatMap(({ lines }) => fetchLines(lines))).toHaveLength(1);
    expect(workers.flatMap(({ lines }) => lines).join()).toContain('another worker of this machine fetches the pictures');
    await writeFile(join(workers[0].config.data, 'a', '0.png'), 'damaged since');
    const later = await fetchThere(running, { cache });
    await expectSame(later.config.data);
    expect(later.lines[0]).toMatch(/^fetching pictures: 1 file,/);
  });

  it('goes on inside a file where an earlier try stopped', async () => {
    const running = await start(), cache = newCache();
    const half = (await readFile(join(folder.path, 'data', 'a', '3.png'))).subarray(0, 200_000);
    const files = join(cache.folder, running.coordinator.parts.welcome.manifestSha256, 'files', 'a');
    await mkdir(files, { recursive: true });
    await writeFile(join(files, '3.png.partial'), half);
    await using wire = await tcpProxy(running.port);
    const { config } = await fetchThere(running, { cache, port: wire.port });
    await expectSame(config.data);
    const whole = (JSON.parse(await readFile(join(running.path, 'manifest.json'), 'utf8')) as { files: { bytes: number }[] }).files.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(wire.received()).toBeLessThan(whole - 150_000);
  });

  it('asks again for what was damaged on the way, and gives up what always is', async () => {
    const running = await start();
    let damaged = 0;
    const damage = (times: number) => (bytes: Buffer) => {
      const at = bytes.indexOf('IHDR');
      if (at >= 0 && at + 80 < bytes.length && damaged++ < times) bytes[at + 80]! ^= 1;
      return bytes;
    };
    await using once = await tcpProxy(running.port, damage(1));
    await expectSame((await fetchThere(running, { cache: newCache(), port: once.port })).config.data);
    expect(damaged).toBeGreaterThan(0);
    damaged = 0;
    await using always = await tcpProxy(running.port, damage(1e9));
    const cache = newCache();
    await expect(fetchThere(running, { cache, port: always.port })).rejects.toThrow(/[ab]\/\d\.png came 3 times with other bytes than the run began with/);
    await expect(readdir(join(cache.folder, running.coordinator.parts.welcome.manifestSha256, 'uses'))).resolves.toEqual([]);
  });

  it('goes on when the coordinator is started anew in the middle', async () => {
    const first = await start();
    const { path, port } = first;
    let restarted: Promise<RunningCoordinator> | null = null;
    await using wire = await tcpProxy(port, (bytes) => {
      if (wire.received() > 2e6) {
        restarted ??= (async () => {
          wire.cut();
          await first.close();
          return start({ resume: path }, { listen: `127.0.0.1:${port}` });
        })();
      }
      return bytes;
    });
    const { config } = await fetchThere(first, { cache: newCache(), port: wire.port, patienceMs: 30_000 });
    await expectSame(config.data);
    expect((await restarted!)?.id).toBe(first.id);
  });

  it('is told when nobody sends any more, and keeps what came', async () => {
    const running = await start(), cache = newCache();
    await using wire = await tcpProxy(running.port, (bytes) => {
      if (wire.received() > 3e6) {
        wire.cut();
        void running.close();
      }
      return bytes;
    });
    await expect(fetchThere(running, { cache, port: wire.port, patienceMs: 500 })).rejects.toThrow(/stopped sending the files of this run .* What came is kept: start the worker again/);
  });

  it('is told which file was changed, cut or removed on the coordinator’s machine since the run began', async () => {
    const running = await start();
    const path = await keep('b/2.png');
    const bytes = await readFile(path);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(path, bytes);
    await expect(fetchThere(running, { cache: newCache() })).rejects.toThrow(/b\/2\.png came 3 times with other bytes .* changed on the coordinator's machine/);
    await truncate(path, 1000);
    await expect(fetchThere(running, { cache: newCache() })).rejects.toThrow(/b\/2\.png was changed on the coordinator's machine since the run began: it has 1000 bytes instead of \d+/);
    await rm(path);
    await expect(fetchThere(running, { cache: newCache() })).rejects.toThrow(/b\/2\.png can't be read on the coordinator's machine any more \(ENOENT\)/);
  });

  it('keeps its cache within its bound, and never removes what a living worker uses', async () => {
    const running = await start();
    const cache = newCache(8e6), old = join(cache.folder, 'f'.repeat(64));
    await mkdir(join(old, 'uses'), { recursive: true });
    await writeFile(join(old, 'bytes'), '6000000');
    await writeFile(join(old, 'uses', 'somewhere.1'), '');
    await expect(fetchThere(running, { cache })).rejects.toThrow(/what living workers of other runs use leaves no room for 5\.\d MB more. Raise --data-cache-size/);
    await rm(join(old, 'uses', 'somewhere.1'));
    await expectSame((await fetchThere(running, { cache })).config.data);
    expect(await stat(old).catch(() => null)).toBeNull();
    await expect(fetchThere(running, { cache: newCache(1e6) })).rejects.toThrow(/more than the cache in .* may hold \(1\.0 MB\)\. Raise --data-cache-size/);
  });
});

describe('start weights', () => {
  it('are refused where they differ, and fetched where they are a file that is not here', async () => {
    const weights = join(folder.path, 'start.safetensors');
    await writeFile(weights, 'the weights, as bytes');
    const running = await start({ config: smallConfig(join(folder.path, 'data'), { weights }), out: folder.path, path: join(folder.path, `run-${count++}`) });
    expect(running.coordinator.parts.welcome.weightsSha256).toBe(sha256(Buffer.from('the weights, as bytes')));
    const data = join(folder.path, 'data');
    const own = (named: string) => ({ configJson: JSON.stringify({ ...(JSON.parse(running.coordinator.parts.welcome.configJson) as object), data, weights: named }) });
    expect((await fetchThere(running, { cache: newCache(), welcome: own(weights) })).config.weights).toBe(weights);
    const cache = newCache();
    const fetched = await fetchThere(running, { cache, welcome: own('/elsewhere/start.safetensors') });
    expect(fetched.config.weights).toBe(join(cache.folder, running.coordinator.parts.welcome.weightsSha256, 'files', 'start.safetensors'));
    expect(await readFile(fetched.config.weights, 'utf8')).toBe('the weights, as bytes');
    const other = join(folder.path, 'other.safetensors');
    await writeFile(other, 'other weights');
    await expect(fetchThere(running, { cache, welcome: own(other) })).rejects.toThrow(/The weights .*other\.safetensors on this machine are others than the ones that the run starts from/);
    await expect(fetchThere(running, { cache, welcome: own('embedded') })).rejects.toThrow(/The weights embedded on this machine are others/);
  });
});

describe('the coordinator hands out', () => {
  it('the files of its run alone, by number', async () => {
    const running = await start();
    const client = openClient({ host: '127.0.0.1', port: running.port, credentials: await channelCredentials(null), metadata: tokenMetadata(null) });
    onTestFinished(() => client.close());
    const ask = async (what: FileWanted['what'], { runId = running.id, offset = 0, token = 'of the tests' as string | null } = {}) => {
      for await (const _ of client.getFiles({ runId, files: [{ what, offset }] }, tokenMetadata(token), { deadline: Date.now() + 10_000 }) as AsyncIterable<unknown>);
    };
    await ask({ $case: 'picture', value: 0 });
    await expect(ask({ $case: 'picture', value: 2 * PER_CLASS })).rejects.toThrow(/The run has no such file/);
    await expect(ask({ $case: 'startWeights', value: true })).rejects.toThrow(/The run has no such file/);
    await expect(ask(undefined)).rejects.toThrow(/The run has no such file/);
    await expect(ask({ $case: 'picture', value: 0 }, { offset: 1e12 })).rejects.toThrow(/from 1000000000000 on there is nothing/);
    await expect(ask({ $case: 'picture', value: 0 }, { runId: 'another' })).rejects.toThrow(/holds the run run-\d+, not another/);
    await expect(ask({ $case: 'picture', value: 0 }, { token: null })).rejects.toThrow(/join token is missing/);
  });

  it('no path that leads out of a worker’s folder', () => {
    for (const path of ['../x', 'a/../../x', '/etc/passwd', 'a//b', 'C:/x', 'a\\..\\x', '', '.', 'a/./b', 'x\0y']) expect(() => placeIn('/cache', path)).toThrow(/leads out of its folder/);
    fc.assert(fc.property(fc.string(), (path) => {
      let place: string;
      try {
        place = placeIn('/cache', path);
      } catch {
        return;
      }
      expect(place.startsWith('/cache/')).toBe(true);
    }));
  });
});

const canMount = process.platform === 'linux' && process.getuid?.() === 0 && spawnSync('unshare', ['-m', 'true']).status === 0;

describe.skipIf(!canMount)('with file systems of their own (skipped where none can be mounted: it takes root on Linux)', () => {
  it('a full disk is named, with what to do, before anything is sent or in the middle', async () => {
    const running = await start();
    const small = join(folder.path, 'small');
    await mkdir(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
    try {
      await expect(fetchThere(running, { cache: { folder: join(small, 'cache'), maxBytes: 1e9 } })).rejects.toThrow(/The disk has .* left in .*; the files of this run need 5\.\d MB\. Free some space, or name another folder with --data-cache/);
      const client = openClient({ host: '127.0.0.1', port: running.port, credentials: await channelCredentials(null), metadata: tokenMetadata('of the tests') });
      onTestFinished(() => client.close());
      const { files } = JSON.parse(await readFile(join(running.path, 'manifest.json'), 'utf8')) as { files: { path: string; bytes: number; sha256: string }[] };
      const needed = files.map(({ path, bytes, sha256: digest }, value) => ({ what: { $case: 'picture' as const, value }, name: path, path: join(small, path), bytes, sha256: digest }));
      await expect(fetchFiles(needed, { client, metadata: tokenMetadata('of the tests'), runId: running.id, patienceMs: 5_000, signal: new AbortController().signal, onProgress: () => undefined })).rejects.toThrow(/The disk is full: .* What was fetched whole is kept/);
    } finally {
      execFileSync('umount', [small]);
    }
  });

  it('a worker without the folder joins one that has it, and both train to the end', { timeout: 120_000 }, async () => {
    const here = join(folder.path, 'here'), cache = newCache();
    await drawSmallDataset(join(here, 'data'));
    const running = await start({ config: smallConfig(join(here, 'data'), { epochs: 3 }), out: folder.path, path: join(folder.path, 'joined') }, { minWorkers: 2, joinWindowMs: 30_000 });
    const given = { coordinator: `127.0.0.1:${running.port}`, token: 'of the tests' };
    const near = startWorkerProcess({ ...given, id: 'near' });
    // Its view of the file system has nothing where the coordinator has the pictures.
    const far = startWorkerProcess({ ...given, id: 'far', dataCache: cache }, undefined, { through: ['unshare', '-m', 'sh', '-c', `mount -t tmpfs tmpfs '${here}' && exec "$@"`, 'sh'] });
    expect(await running.outcome).toMatchObject({ reason: 'done' });
    expect(await Promise.all([near.ended, far.ended])).toEqual([0, 0]);
    expect(far.lines.join('\n')).toMatch(/fetching pictures: 30 files/);
    expect(near.lines.join('\n')).not.toContain('fetching');
    expect(await readdir(join(cache.folder, running.coordinator.parts.welcome.manifestSha256, 'uses'))).toEqual([]);
  });
});
