import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Span, evaluate } from '../metrics/evaluate.js';
import { type Expression, select } from '../metrics/expression.js';
import { History } from '../metrics/history.js';
import { serve, serveMetrics } from '../testing/http.js';
import { freePort, temporaryFolder } from '../testing/prometheus.js';
import { EmbeddedSource, type EmbeddedOptions } from './embedded-source.js';
import { type MetricsSource, firingAlerts } from './source.js';
import { parseTarget, readTargets } from './targets.js';
import { soon } from '../testing/soon.js';

const LIMITS = { retentionMs: 3_600_000, maxBytes: 1e8 };
const start = (targets: readonly string[], more: Partial<EmbeddedOptions> = {}) => EmbeddedSource.start({ targets: targets.map((target) => parseTarget(target)), intervalMs: 100, limits: LIMITS, ...more });

async function now(source: EmbeddedSource, metric: string): Promise<Record<string, number>> {
  const rows = await source.range(select(metric), { startMs: Date.now(), endMs: Date.now(), stepMs: 1000 });
  return Object.fromEntries(rows.map(({ labels, values }) => [labels['instance']!, values[0]!]));
}

describe('the embedded scraper', () => {
  it('knows what its targets say, and a broken one leaves the others alone', async () => {
    await using good = await serveMetrics(() => 'a{instance="mine"} 1\n');
    await using broken = await serveMetrics(() => 'a 1\na{ 2\n');
    await using page = await serve((_request, response) => response.end('<html>'));
    await using refusing = await serve((_request, response) => response.writeHead(503).end());
    await using silent = await serve(() => undefined);
    await using source = await start([good.url, broken.url, page.url, refusing.url, silent.url, `127.0.0.1:${await freePort()}`]);
    await soon(async () => (await source.targets()).map(({ health, error }) => [health, error])).toEqual([
      ['up', ''], ['down', "line 2: labels that don't end: a{ 2"], ['down', "line 1: no metric's name: <html>"], ['down', 'it answers with 503'], ['down', 'no answer within 0.1 s'], ['down', 'nothing listens there'],
    ]);
    expect(await now(source, 'a')).toEqual({ [new URL(good.url).host]: 1 });
    expect((await now(source, 'up'))[new URL(broken.url).host]).toBe(0);
    // The target's own label isn't lost.
    const [row] = await source.range(select('a'), { startMs: Date.now(), endMs: Date.now(), stepMs: 1000 });
    expect(row!.labels).toMatchObject({ exported_instance: 'mine', job: 'chameleon' });
  });

  it('shows a target that goes away as gone, not as zero, and its return', async () => {
    const port = await freePort();
    const first = await serveMetrics(() => 'a 7\n', port);
    await using source = await start([`127.0.0.1:${port}`]);
    const value = async () => (await now(source, 'a'))[`127.0.0.1:${port}`];
    await soon(value).toBe(7);
    await first[Symbol.asyncDispose]();
    await soon(value).toBe(undefined);
    expect((await now(source, 'up'))[`127.0.0.1:${port}`]).toBe(0);
    await using _ = await serveMetrics(() => 'a 8\n', port);
    await soon(value).toBe(8);
  });

  it('refuses a target with more series than it can mean', async () => {
    const many = `${Array.from({ length: 20_001 }, (_, i) => `a{b="${i}"} 1`).join('\n')}\n`;
    await using target = await serveMetrics(() => many);
    await using source = await start([target.url], { intervalMs: 2_000 });
    await soon(async () => (await source.targets())[0]!.error).toMatch(/20001 series/);
  });

  it('keeps what it saw for the next one', async () => {
    await using folder = await temporaryFolder();
    await using target = await serveMetrics(() => 'a 7\n');
    {
      await using source = await start([target.url], { folder: folder.path });
      await soon(() => now(source, 'a')).toEqual({ [new URL(target.url).host]: 7 });
    }
    await target[Symbol.asyncDispose]();
    await using next = await start([], { folder: folder.path });
    expect(await now(next, 'a')).toEqual({ [new URL(target.url).host]: 7 });
  });

  it('follows its file of targets, and says when that is broken', async () => {
    await using folder = await temporaryFolder();
    await using one = await serveMetrics(() => 'a 1\n');
    await using two = await serveMetrics(() => 'a 2\n');
    const file = join(folder.path, 'targets.yaml');
    const write = (...urls: string[]) => writeFile(file, JSON.stringify([{ targets: urls }]));
    await write(one.url);
    await using source = await start([], { file });
    const values = async () => Object.values(await now(source, 'a')).sort();
    await soon(values).toEqual([1]);
    await write(one.url, two.url);
    await soon(values).toEqual([1, 2]);
    await writeFile(file, 'nonsense: [');
    await soon(() => source.problems()).toEqual([expect.stringContaining('no list of targets')]);
    expect(await values()).toEqual([1, 2]);
    await write(two.url);
    await soon(values).toEqual([2]);
    expect(source.problems()).toEqual([]);
  });

  it('fires an alert for what has been down for long enough, and not before', async () => {
    const history = new History(LIMITS);
    const labels = { __name__: 'up', job: 'chameleon', instance: 'a' };
    for (let seconds = 0; seconds <= 60; seconds++) history.append('a', seconds * 1000, [history.idOf('a', labels)], [seconds < 20 ? 1 : 0]);
    const at = (seconds: number) => firingAlerts({ range: (expression: Expression, span: Span) => Promise.resolve(evaluate(expression, history, span)), otherAlerts: () => Promise.resolve([]) } as unknown as MetricsSource, seconds * 1000);
    expect(await at(30)).toEqual([]);
    expect(await at(50)).toEqual([expect.objectContaining({ name: 'ChameleonTargetDown', severity: 'critical', summary: "a can't be scraped: it is down, or out of reach." })]);
  });
});

describe('targets', () => {
  it.each([
    ['127.0.0.1:9464', 'http://127.0.0.1:9464/metrics', '127.0.0.1:9464'],
    ['https://a.example/own/path', 'https://a.example/own/path', 'a.example'],
    ['http://[::1]:9/', 'http://[::1]:9/metrics', '[::1]:9'],
  ])('%s is asked at %s', (given, url, instance) => {
    expect(parseTarget(given)).toEqual({ url, labels: { job: 'chameleon', instance } });
  });

  it('that are none are refused', () => {
    expect(() => parseTarget('http://')).toThrow(/no address of metrics/);
    expect(() => parseTarget('a b')).toThrow(/no address of metrics/);
  });

  it("come out of a file as Prometheus's discovery has it", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'targets.yaml');
    await writeFile(file, '- targets: ["127.0.0.1:1", "127.0.0.1:2"]\n  labels: { job: chameleon-train, rack: "7" }\n');
    expect(await readTargets(file)).toEqual([1, 2].map((port) => ({ url: `http://127.0.0.1:${port}/metrics`, labels: { job: 'chameleon-train', instance: `127.0.0.1:${port}`, rack: '7' } })));
    await writeFile(file, 'targets: here');
    await expect(readTargets(file)).rejects.toThrow(/no list of targets/);
    await expect(readTargets(join(folder.path, 'none'))).rejects.toThrow(/ENOENT/);
  });
});
