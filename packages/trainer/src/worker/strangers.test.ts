import { readFile, readdir, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCuda } from '@chameleon/tfjs-libtorch';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type RunningCoordinator, startCoordinator } from '../coordinator/start.js';
import type { ExchangeKind } from '../exchange/exchange.js';
import { readEvents } from '../run-directory.js';
import { type TestProcess, endProcesses, startWorkerProcess, until } from '../testing/processes.js';
import { drawSmallDataset, smallConfig, temporaryFolder } from '../testing/small-run.js';
import { freePort } from './address.js';

/** Real workers that don't fit a run, beside one that does: each is told at its own side, and the run goes on. */

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
  await drawSmallDataset(join(folder.path, 'data'));
  await drawSmallDataset(join(folder.path, 'other'));
  await writeFile(join(folder.path, 'other', 'plain', '007.png'), await readFile(join(folder.path, 'other', 'plain', '008.png')));
});
afterEach(endProcesses);
afterAll(() => folder[Symbol.asyncDispose]());

let count = 0;
async function begin({ minWorkers = 1, epochs = 4, exchange = 'gloo' as ExchangeKind } = {}): Promise<RunningCoordinator> {
  const running = await startCoordinator({ config: smallConfig(join(folder.path, 'data'), { epochs }), out: folder.path, path: join(folder.path, `run-${count++}`) }, { listen: '127.0.0.1:0', security: { token: 'of the tests', tls: null }, minWorkers, maxWorkers: 2, detectionMs: 1_000, joinWindowMs: 15_000, maxFailures: 5, balance: false, exchange }, { backend: 'libtorch' });
  onTestFinished(() => running.close());
  return running;
}
const at = ({ port }: RunningCoordinator) => ({ coordinator: `127.0.0.1:${port}`, token: 'of the tests' });

/** Its clock runs so many hours ahead of everybody's. */
const clockAhead = (hours: number) => ({ NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(`const now = Date.now; Date.now = () => now() + ${hours * 3_600_000};`)}` });

/** Addresses that a process listens on. */
async function listensOn({ pid }: TestProcess): Promise<string[]> {
  const links = await Promise.all((await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  const inodes = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const tables = await Promise.all(['tcp', 'tcp6'].map((table) => readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => '')));
  return tables.flatMap((table) => table.split('\n')).map((line) => line.trim().split(/\s+/)).filter((cells) => cells[3] === '0A' && inodes.has(cells[9]!)).map((cells) => ipOf(cells[1]!.split(':')[0]!));
}
/** An address as the kernel writes it: IPv4 as a number in this machine's order of bytes; IPv6 stays as it is, but that any address is 0.0.0.0 too. */
const ipOf = (hex: string): string => (/^0+$/.test(hex) ? '0.0.0.0' : hex.length === 8 ? [3, 2, 1, 0].map((i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16)).join('.') : hex);

describe('workers that do not fit', { timeout: 120_000 }, () => {
  it.skipIf(hasCuda())('no CUDA device for NCCL: the worker says so before it joins, and what to choose (where there is none)', async () => {
    const running = await begin({ exchange: 'nccl' });
    const worker = startWorkerProcess({ ...at(running), id: 'on-the-processor' });
    expect(await worker.ended).toBe(1);
    expect(worker.lines.join('\n')).toMatch(/error: The exchange "nccl" wants a CUDA device on every worker: .*CUDA.* Choose --exchange gloo or grpc where there is none\./);
    expect(running.coordinator.membership.number).toBe(0);
  });

  it('other pictures, another token: each is told why, and the run of the others goes on to its end', async () => {
    const running = await begin({ epochs: 8 });
    const good = startWorkerProcess({ ...at(running), id: 'good' });
    const others = startWorkerProcess({ ...at(running), id: 'others', data: join(folder.path, 'other') });
    const thief = startWorkerProcess({ ...at(running), token: 'guessed', id: 'thief' });
    expect(await Promise.all([others.ended, thief.ended])).toEqual([1, 1]);
    expect(others.lines.join('\n')).toMatch(/error: The pictures in .*other are not those of this run: 1 of 30 files are others, among them plain\/007\.png.*--data/);
    expect(thief.lines.join('\n')).toMatch(/error: The coordinator .* refuses this worker: The join token is missing or wrong/);
    expect(await running.outcome).toMatchObject({ reason: 'done' });
    expect(await good.ended).toBe(0);
    expect((await readEvents(running.path)).flatMap((event) => (event.type === 'fault' ? [event.message] : [])).join('\n')).toContain("others can't take part: The pictures in");
  });

  it('clocks that differ by hours change nothing', async () => {
    const running = await begin({ minWorkers: 2 });
    const workers = [startWorkerProcess({ ...at(running), id: 'here' }), startWorkerProcess({ ...at(running), id: 'ahead' }, undefined, { env: clockAhead(7) })];
    expect(await running.outcome).toMatchObject({ reason: 'done' });
    expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0]);
    const events = await readEvents(running.path);
    expect(events.filter((event) => event.type === 'generation')).toMatchObject([{ workers: expect.arrayContaining(['here', 'ahead']) as string[] }]);
    expect(events.filter((event) => event.type === 'fault')).toEqual([]);
  });

  it('fewer than the minimum wait, and it is said for how many', async () => {
    const running = await begin({ minWorkers: 2 });
    startWorkerProcess({ ...at(running), id: 'lonely' });
    await until('it is in', () => running.coordinator.membership.members.length === 1);
    await until('it is said', () => running.coordinator.describe().detail === 'waiting for workers: 1 of at least 2 are here');
    expect(running.coordinator.describe()).toMatchObject({ state: 'waiting', generation: 0 });
  });

  it('nobody at the coordinator’s address is said within the patience', async () => {
    const worker = startWorkerProcess({ coordinator: `127.0.0.1:${await freePort('127.0.0.1')}`, id: 'lost', patienceMs: 1_000 });
    expect(await worker.ended).toBe(1);
    expect(worker.lines.join('\n')).toMatch(/error: Nobody answers at 127\.0\.0\.1:\d+ .*Is the coordinator running there, and is the port open\?/);
  });
});

describe.skipIf(process.platform !== 'linux')('what a worker listens on (skipped where there is no /proc)', { timeout: 120_000 }, () => {
  // Rank 0 keeps the store where the ranks of gloo meet. Gloo itself stops listening once its pairs are connected.
  it.each(['grpc', 'gloo'] as const)('once it trains with %s is the address that it was told alone', async (exchange) => {
    const running = await begin({ minWorkers: 2, epochs: 200, exchange });
    const workers = [0, 1].map((i) => startWorkerProcess({ ...at(running), id: `w${i}`, address: '127.0.0.1' }));
    await until('both train', () => running.coordinator.parts.log.step > 1);
    const addresses = (await Promise.all(workers.map(listensOn))).flat();
    expect([...new Set(addresses)]).toEqual(['127.0.0.1']);
    if (exchange === 'gloo') expect(addresses).toHaveLength(1);
  });
});
