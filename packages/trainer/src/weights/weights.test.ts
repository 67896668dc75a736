import { createHash } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { detectArchitecture } from '@chameleon/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../testing/small-run.js';
import { pullWeights } from './pull.js';
import { KNOWN_WEIGHTS, listWeights } from './registry.js';
import { openWeights } from './resolve.js';

/** Bytes whose SHA-256 is not what torchvision's file name says: what a digest check must refuse. */
const rubbish = Buffer.alloc(50_000, 7);

describe('weights by name', () => {
  it('are listed, the embedded ones at hand', async () => {
    await using folder = await temporaryFolder();
    const rows = await listWeights(folder.path);
    expect(rows.map((row) => row.name)).toEqual(KNOWN_WEIGHTS.map((known) => known.name));
    expect(rows[0]).toMatchObject({ name: 'embedded', state: 'embedded' });
    expect(rows[0]!.bytes).toBeLessThan(4e6);
    expect(rows.slice(1).every((row) => row.state === 'to be pulled')).toBe(true);
  });

  it('open: the embedded backbone is what its name says', async () => {
    expect(detectArchitecture((await openWeights('embedded')).tensors)?.name).toBe('resnet16w32');
  });

  it('that are mistyped or not here say what to do', async () => {
    await using folder = await temporaryFolder();
    await expect(openWeights('resnet43', folder.path)).rejects.toThrow(/Did you mean resnet/);
    await expect(openWeights('resnet34', folder.path)).rejects.toThrow(/chameleon weights pull resnet34/);
  });
});

describe('pulling', () => {
  let server: Server, baseUrl: string;
  let answer: (range: string | undefined, response: ServerResponse) => void;
  const asked: (string | undefined)[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(request.headers.range);
      answer(request.headers.range, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/models`;
  });
  beforeEach(() => void asked.splice(0));
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  it('refuses bytes that are not the file, and leaves none of them', async () => {
    await using folder = await temporaryFolder();
    answer = (_, response) => response.end(rubbish);
    const digest = createHash('sha256').update(rubbish).digest('hex').slice(0, 8);
    await expect(pullWeights('resnet34', { folder: folder.path, baseUrl })).rejects.toThrow(new RegExp(`begins with ${digest} instead of b627a593`));
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('goes on where it was cut off', async () => {
    await using folder = await temporaryFolder();
    const kept: number[] = [];
    answer = (range, response) => {
      const from = Number(/bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
      kept.push(from);
      response.writeHead(from > 0 ? 206 : 200, { 'content-length': rubbish.length - from });
      if (from > 0) return void response.end(rubbish.subarray(from));
      response.write(rubbish.subarray(0, 20_000), () => setTimeout(() => response.destroy(), 50));
    };
    await expect(pullWeights('resnet34', { folder: folder.path, baseUrl })).rejects.toThrow(/SHA-256/);
    expect(kept).toEqual([0, 20_000]);
  });

  it('says that there is no such file, without trying again', async () => {
    await using folder = await temporaryFolder();
    answer = (_, response) => response.writeHead(404).end();
    await expect(pullWeights('resnet34', { folder: folder.path, baseUrl })).rejects.toThrow(/answers 404/);
    expect(asked).toHaveLength(1);
  });

  it('tries again when the server fails, and then tells of --from', async () => {
    await using folder = await temporaryFolder();
    answer = (_, response) => response.writeHead(503).end();
    await expect(pullWeights('resnet34', { folder: folder.path, baseUrl })).rejects.toThrow(/503.*--from FILE/s);
    expect(asked).toHaveLength(4);
  });

  it('from a file checks it just as well', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'mine.pth'), rubbish);
    await expect(pullWeights('resnet34', { folder: folder.path, from: join(folder.path, 'mine.pth') })).rejects.toThrow(/SHA-256/);
    await expect(pullWeights('resnet34', { folder: folder.path, from: join(folder.path, 'none.pth') })).rejects.toThrow(/can't be taken/);
    expect(await readFile(join(folder.path, 'mine.pth'))).toEqual(rubbish);
  });
});
