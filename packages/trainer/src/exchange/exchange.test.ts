import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { alone, openExchange } from './exchange.js';
import { type RankProcess, freePort, startRanks as startRanksWith } from './testing/processes.js';

/** Long enough that a test whose ranks waited for it would fail by its own time. */
const LONG_MS = 45_000;

interface StepAnswer { digest: string; error: number }

/** Two buckets: the first closes at a megabyte, counted from the back. */
const parameters = [
  { name: 'conv', shape: [3, 3, 64, 128], layout: 'filter' },
  { name: 'bias', shape: [7], layout: 'plain' },
  { name: 'wide', shape: [1000, 300], layout: 'plain' },
  { name: 'deep', shape: [3, 3, 64, 110], layout: 'filter' },
  { name: 'fc', shape: [513, 5], layout: 'plain' },
];

async function meet(kind: 'gloo' | 'grpc', ranks: readonly RankProcess[], { wire = 'float32' as 'float32' | 'bfloat16', timeoutMs = LONG_MS, port = 0, prefix = 'run/1' } = {}): Promise<number> {
  const at = port || (await freePort());
  await Promise.all(ranks.map((process, rank) => process.open(kind, { rank, worldSize: ranks.length, meeting: { host: '127.0.0.1', port: at, prefix }, address: '127.0.0.1', timeoutMs, wire })));
  return at;
}

const onAll = <T>(ranks: readonly RankProcess[], call: string, args: object = {}): Promise<T[]> => Promise.all(ranks.map((rank) => rank.call<T>(call, args)));

async function expectEqualSums(ranks: readonly RankProcess[], args: object, tolerance = 0): Promise<void> {
  const answers = await onAll<StepAnswer>(ranks, 'step', { parameters, ...args });
  for (const { digest, error } of answers) {
    expect(error).toBeLessThanOrEqual(tolerance);
    expect(digest).toBe(answers[0]!.digest);
  }
}

/** Ranks of one machine read each other's memory, unless one of them is told not to. NCCL wants a CUDA device a rank, which no machine of these tests has had. */
const WAYS: [name: string, kind: 'gloo' | 'grpc', envOf: (rank: number) => NodeJS.ProcessEnv][] = [
  ['gloo', 'gloo', () => ({})],
  ['gloo, over connections alone', 'gloo', (rank) => (rank === 1 ? { CHAMELEON_PEER_MEMORY: 'off' } : {})],
  ['grpc', 'grpc', () => ({})],
];

describe.each(WAYS)('the exchange %s', (_name, kind, envOf) => {
  const startRanks = (count: number) => startRanksWith(count, envOf);
  let healthy: Awaited<ReturnType<typeof startRanks>>;
  beforeAll(async () => void (healthy = await startRanks(3)));
  afterAll(async () => {
    for (const rank of healthy) expect(await rank.end()).toBe(0);
  });

  it.each([2, 3])('sums gradients over %i ranks to the same bits, whichever are ready, known or missing', async (worldSize) => {
    const ranks = healthy.slice(0, worldSize);
    await meet(kind, ranks);
    // The layout is unknown; known; more parameters learn than before; fewer; again all, not announced; a rank had no pictures.
    await expectEqualSums(ranks, { step: 0, parameters: parameters.slice(4) });
    await expectEqualSums(ranks, { step: 1, parameters: parameters.slice(4) });
    await expectEqualSums(ranks, { step: 2 });
    await expectEqualSums(ranks, { step: 3 });
    await expectEqualSums(ranks, { step: 4, parameters: parameters.slice(1, 3) });
    await expectEqualSums(ranks, { step: 5, parameters: parameters.slice(0, 2), without: [1] });
    await expectEqualSums(ranks, { step: 6, announced: false });
    await expectEqualSums(ranks, { step: 7, without: [0] });
    for (const numbers of await onAll<number[]>(ranks, 'numbers', { values: [1, 0.5, -3, 2 ** 40] })) expect(numbers).toEqual([1, 0.5, -3, 2 ** 40].map((value) => value * worldSize));
    expect(await onAll(ranks, 'numbers', { values: [] })).toEqual(ranks.map(() => []));
    await onAll(ranks, 'close');
  });

  it('sends bfloat16 where it is told to, and sums to the same bits', async () => {
    await meet(kind, healthy, { wire: 'bfloat16' });
    for (let step = 0; step < 2; step++) await expectEqualSums(healthy, { step }, 2 ** -6);
    await onAll(healthy, 'close');
  });

  it('sums in the middle of a pass, between buckets that are on their way', async () => {
    const ranks = healthy.slice(0, 3);
    await meet(kind, ranks);
    for (let step = 0; step < 3; step++) for (const sums of await onAll<number[]>(ranks, 'now', { values: [1, -0.5, 2 ** 20, 0], parameters, step })) expect(sums).toEqual([6, -3, 6 * 2 ** 20, 0]);
    await expectEqualSums(ranks, { step: 3 });
    await onAll(ranks, 'close');
  });

  it('gives up a sum that blocks its thread, where a peer stands still', async () => {
    await using ranks = await startRanks(2);
    const giveUpFile = join(await mkdtemp(join(tmpdir(), 'chameleon-exchange-')), 'given-up');
    onTestFinished(() => rm(dirname(giveUpFile), { recursive: true }));
    const port = await freePort();
    await Promise.all(ranks.map((process, rank) => process.open(kind, { rank, worldSize: 2, meeting: { host: '127.0.0.1', port, prefix: 'run/1' }, address: '127.0.0.1', timeoutMs: LONG_MS, giveUpFile })));
    ranks[1]!.signal('SIGSTOP');
    const blocked = ranks[0]!.call('now', { values: [1] });
    await writeFile(giveUpFile, '');
    await expect(blocked).rejects.toMatchObject({ name: 'ExchangeAborted', message: expect.stringContaining('given up') as string });
    await expect(ranks[0]!.call('numbers', { values: [1] })).rejects.toMatchObject({ name: 'ExchangeAborted' });
    ranks[1]!.signal('SIGKILL');
    expect(await ranks[0]!.end()).toBe(0);
  });

  it('breaks a sum that blocks its thread when the peer dies', async () => {
    await using ranks = await startRanks(2);
    await meet(kind, ranks);
    ranks[1]!.signal('SIGSTOP');
    const blocked = ranks[0]!.call('now', { values: [1] });
    ranks[1]!.signal('SIGKILL');
    await expect(blocked).rejects.toMatchObject({ name: 'ExchangeAborted', message: expect.stringContaining('broke') as string });
  });

  it('broadcasts 20 MB, and nothing, from any rank', async () => {
    await meet(kind, healthy);
    for (const [root, length] of [[2, 20_000_003], [0, 5], [1, 0]] as const) {
      const answers = await onAll<{ length: number; digest: string }>(healthy, 'broadcast', { length, root });
      for (const { length: come, digest } of answers) {
        expect(come).toBe(length);
        expect(digest).toBe(answers[root]!.digest);
      }
    }
    await onAll(healthy, 'close');
  });

  it('gives up at once when told to while a peer stands still, and meets anew at the same place', async () => {
    await using ranks = await startRanks(3);
    const port = await meet(kind, ranks);
    const [first, second, stopped] = [ranks[0]!, ranks[1]!, ranks[2]!];
    stopped.signal('SIGSTOP');
    const waiting = [first, second].map((rank) => rank.call('step', { parameters, step: 0 }));
    await Promise.all([first, second].map((rank) => rank.call('abort', { reason: 'a rank stands still' })));
    for (const step of waiting) await expect(step).rejects.toMatchObject({ name: 'ExchangeAborted', message: expect.stringContaining('a rank stands still') as string });
    await expect(first.call('numbers', { values: [1] })).rejects.toMatchObject({ name: 'ExchangeAborted' });
    await meet(kind, [first, second], { port, prefix: 'run/2' });
    await expectEqualSums([first, second], { step: 1 });
    await onAll([first, second], 'close');
    // What was given up may hold the stopped one's connection until it is gone; it ends no process badly.
    stopped.signal('SIGKILL');
    expect(await first.end()).toBe(0);
  });

  it.each([0, 2])('breaks on all others when rank %i dies in the middle of a sum, and they meet without it', async (victim) => {
    await using ranks = await startRanks(3);
    await meet(kind, ranks);
    const survivors = ranks.filter((_, rank) => rank !== victim);
    await expectEqualSums(ranks, { step: 0 });
    const waiting = survivors.map((rank) => rank.call('numbers', { values: [1] }));
    ranks[victim]!.signal('SIGKILL');
    for (const sum of waiting) await expect(sum).rejects.toMatchObject({ name: 'ExchangeAborted', message: expect.stringContaining('broke') as string });
    await meet(kind, survivors, { prefix: 'run/2' });
    await expectEqualSums(survivors, { step: 1 });
  });

  it('says who did not come, where, and how long it waited', async () => {
    const port = await freePort(), ranks = healthy;
    const options = { worldSize: 3, meeting: { host: '127.0.0.1', port, prefix: 'run/1' }, address: '127.0.0.1', timeoutMs: 700 };
    await expect(ranks[1]!.open(kind, { ...options, rank: 1 })).rejects.toMatchObject({ name: 'ExchangeAborted', message: expect.stringContaining(`rank 0 of 3 did not come to 127.0.0.1:${port} in 700 ms`) as string });
    const [host, other] = [ranks[0]!.open(kind, { ...options, rank: 0 }), ranks[1]!.open(kind, { ...options, rank: 1, meeting: { ...options.meeting, prefix: 'another/1' } })];
    await expect(host).rejects.toThrow(new RegExp(`ranks 1 and 2 of 3 did not come to 127.0.0.1:${port} in 700 ms`));
    await expect(other).rejects.toMatchObject({ name: 'ExchangeAborted' });
  });

  it('stops waiting for others when told to', async () => {
    await using ranks = await startRanks(1);
    const opening = ranks[0]!.open(kind, { rank: 0, worldSize: 2, meeting: { host: '127.0.0.1', port: await freePort(), prefix: 'run/1' }, address: '127.0.0.1', timeoutMs: LONG_MS });
    await ranks[0]!.call('abortOpening', { reason: 'the generation is over' });
    await expect(opening).rejects.toMatchObject({ name: 'ExchangeAborted', message: expect.stringContaining('the generation is over') as string });
    expect(await ranks[0]!.end()).toBe(0);
  });
});

describe('a rank that is alone', () => {
  it('needs nobody', async () => {
    const exchange = await openExchange('gloo', { rank: 0, worldSize: 1, meeting: { host: '127.0.0.1', port: 1, prefix: '' }, address: '127.0.0.1', timeoutMs: 1, signal: new AbortController().signal });
    expect(exchange).toBe(alone);
    expect(await exchange.sumNumbers([3])).toEqual([3]);
    expect(await exchange.broadcast(Uint8Array.of(1), 0)).toEqual(Uint8Array.of(1));
  });
});
