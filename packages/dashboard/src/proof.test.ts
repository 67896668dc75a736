import { execFile } from 'node:child_process';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { curveSchema, queryAnswerSchema } from './contract.js';
import { toPromQl } from './metrics/expression.js';
import { History, labelKey } from './metrics/history.js';
import { evaluate } from './metrics/evaluate.js';
import { type Unit, formatValue } from './page/format.js';
import { QUERIES, QUERY_NAMES, type QueryName, type QueryPart } from './queries/catalogue.js';
import { answerQuery } from './server/answer-query.js';
import { PrometheusSource } from './server/prometheus-source.js';
import type { MetricsSource } from './server/source.js';
import { type RunningDashboard, startDashboard } from './server/start.js';
import { hasBrowser, openBrowser, violationsOf } from './testing/browser.js';
import { freePort, hasPrometheus, startPrometheus, temporaryFolder } from './testing/prometheus.js';
import { stepLine, writeRun } from './testing/runs.js';
import { type Chameleon, Cleanup, chameleon, eventually, isBuilt, load, picturesIn } from './testing/stack.js';
import { soon } from './testing/soon.js';

/**
 * A real run and a real server under load, scraped by a real Prometheus and by the dashboard itself, and the page on both in a real
 * Chromium. Left out where a part is not installed: `node tools/setup.mjs --with-reference` installs them.
 */
const INTERVAL_MS = 2_000;
const MONITORING = fileURLToPath(new URL('../../../tools/deploy/monitoring/', import.meta.url));
const RUN = 'live-run';
const TRAINING = ['--data', 'photos', '--epochs', '10000', '--image-size', '32', '--threads', '1', '--checkpoint-every', '50'];

describe.skipIf(!hasPrometheus || !hasBrowser || !isBuilt)('with real parts (left out where Prometheus, Chromium or the build is missing)', () => {
  const cleanup = new Cleanup();
  let folder: string, train: Chameleon, trainMetrics: string, serveUrl: string, prometheus: string, onPrometheus: RunningDashboard, embedded: RunningDashboard, browser: Browser;

  const startTraining = async (...more: string[]) => {
    train = chameleon(folder, 'train', ...more, '--metrics-port', String(trainMetrics === undefined ? 0 : Number(new URL(trainMetrics).port)));
    trainMetrics = await train.said(/metrics at (\S+)/);
  };

  beforeAll(async () => {
    const temporary = cleanup.use(await temporaryFolder());
    folder = temporary.path;
    expect(await chameleon(folder, 'dataset', 'synth', 'photos', '--count', '60', '--size', '64').ended).toBe(0);
    expect(await chameleon(folder, 'train', '--data', 'photos', '--epochs', '1', '--image-size', '32', '--run-dir', 'runs/served').ended).toBe(0);
    await startTraining(...TRAINING, '--run-dir', `runs/${RUN}`);
    cleanup.defer(() => train[Symbol.asyncDispose]());
    const serve = cleanup.use(chameleon(folder, 'serve', 'runs/served', '--port', '0', '--threads', '1', '--decode-threads', '1', '--log-level', 'warn'));
    serveUrl = await serve.said(/ at (http:\S+)/);
    cleanup.use(load(serveUrl, await picturesIn(join(folder, 'photos'), 8)));
    const targets = [new URL(trainMetrics).host, new URL(serveUrl).host];
    const config = { global: { scrape_interval: `${INTERVAL_MS}ms` }, scrape_configs: [{ job_name: 'chameleon', static_configs: [{ targets }] }] };
    prometheus = cleanup.use(await startPrometheus(folder, { config: JSON.stringify(config) })).url;
    onPrometheus = cleanup.use(await startDashboard({ port: 0, prometheus, runsFolder: join(folder, 'runs') }));
    await writeRun(join(folder, 'runs'), '00-odd', { classes: ['<img src=x onerror="window.broken=1">', 'dog'], loss: (step) => (step === 20 ? null : 1) });
    embedded = cleanup.use(await startDashboard({ port: 0, targets, intervalMs: INTERVAL_MS, runsFolder: join(folder, 'runs'), historyFolder: join(folder, 'history') }));
    browser = await openBrowser();
    cleanup.defer(() => browser.close());
    // Until there is something of everything to see.
    for (const query of ['rate(chameleon_train_phase_seconds_count[8s]) > 0', 'rate(chameleon_predictions_total[8s]) > 0', 'rate(chameleon_rejected_total[10s]) > 0', 'chameleon_train_checkpoint_timestamp_seconds', 'min(count_over_time(up{job="chameleon"}[1m])) > 8']) {
      await eventually(async () => (await instant(query)).length > 0, query);
    }
  }, 180_000);
  afterAll(() => cleanup[Symbol.asyncDispose](), 60_000);

  async function instant(query: string): Promise<{ metric: Record<string, string>; value: [number, string]; values: [number, string][] }[]> {
    const answer = await fetch(`${prometheus}/api/v1/query`, { method: 'POST', body: new URLSearchParams({ query }) });
    const { data, error } = (await answer.json()) as { data?: { result: Awaited<ReturnType<typeof instant>> }; error?: string };
    expect(error, query).toBeUndefined();
    return data!.result;
  }

  /** A page, and what it complained of. */
  async function open(dashboard: RunningDashboard, path: string, { width = 1280, dark = false } = {}): Promise<{ page: Page; complaints: string[] } & AsyncDisposable> {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: dark ? 'dark' : 'light' });
    const complaints: string[] = [];
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(`${dashboard.url}${path}`);
    await page.waitForSelector('main h2');
    await soon(() => page.locator('.state.loading').count()).toBe(0);
    return { page, complaints, [Symbol.asyncDispose]: () => page.close() };
  }

  /** A span that stands still, some seconds ago, at moments of its own. */
  function recently(seconds: number): { startMs: number; endMs: number } {
    const endMs = Math.floor(Date.now() / INTERVAL_MS) * INTERVAL_MS - INTERVAL_MS;
    return { startMs: endMs - seconds * 1000, endMs };
  }

  it('every metric is as Prometheus wants it', async () => {
    for (const url of [trainMetrics, `${serveUrl}/metrics`, `${embedded.url}/metrics`]) {
      const body = await (await fetch(url)).text();
      const { out } = await pipe('promtool', ['check', 'metrics'], body);
      expect(out.split('\n').filter((line) => line.startsWith('chameleon_')), url).toEqual([]);
      expect(body).toMatch(/^(chameleon|process)_/m);
    }
  });

  it('the embedded history gives the same numbers as Prometheus out of the same samples, for every query', async () => {
    const span = { ...recently(10), stepMs: INTERVAL_MS };
    const history = new History({ retentionMs: 1e9, maxBytes: 1e9 });
    for (const [i, { metric, values }] of (await instant('{job="chameleon"}[2m]')).entries()) for (const [seconds, text] of values) history.append(String(i), Math.round(seconds * 1000), [history.idOf(String(i), metric)], [Number(text.replace('Inf', 'Infinity'))]);
    const ours = { intervalMs: () => Promise.resolve(INTERVAL_MS), range: (...[expression, moments]: Parameters<MetricsSource['range']>) => Promise.resolve(evaluate(expression, history, moments)) } as unknown as MetricsSource;
    await using theirs = new PrometheusSource(prometheus);
    expect(await theirs.intervalMs()).toBe(INTERVAL_MS);
    let lines = 0;
    for (const name of QUERY_NAMES) {
      const query = { name, run: RUN, ...span };
      const [mine, other] = [await answerQuery(query, ours), await answerQuery(query, theirs)];
      expect(mine.lines.map(({ labels }) => labels), name).toEqual(other.lines.map(({ labels }) => labels));
      for (const [i, line] of mine.lines.entries()) line.values.forEach((value, at) => expectClose(value, other.lines[i]!.values[at]!, `${name} ${JSON.stringify(line.labels)} at ${at}`));
      lines += mine.lines.length;
    }
    expect(lines).toBeGreaterThan(40);
  });

  it('the embedded scraper sees what Prometheus sees', async () => {
    const { startMs, endMs } = recently(4);
    const ask = async ({ url }: RunningDashboard, name: QueryName) => queryAnswerSchema.parse(await (await fetch(`${url}/api/query?name=${name}&run=${RUN}&startMs=${startMs}&endMs=${endMs}&stepMs=${INTERVAL_MS}`)).json()).lines;
    for (const name of ['world-size', 'models', 'targets', 'learning-rates'] as const) {
      const values = async (dashboard: RunningDashboard) => (await ask(dashboard, name)).map(({ labels, values: all }) => [labelKey(labels), all.at(-1)]);
      expect(await values(embedded), name).toEqual(await values(onPrometheus));
    }
    // Taken at other moments, so that they agree as the steps between do.
    const lastStep = async (dashboard: RunningDashboard) => (await ask(dashboard, 'step'))[0]!.values.findLast((value) => value !== null)!;
    const [mine, other] = [await lastStep(embedded), await lastStep(onPrometheus)];
    expect(Math.abs(mine - other)).toBeLessThan(0.2 * other);
  });

  it.each(['run', 'serving'])('every panel of the page "%s" shows what Prometheus has', async (name) => {
    const { startMs, endMs } = recently(10);
    await using opened = await open(onPrometheus, `/?page=${name}&run=${RUN}&time=${startMs}-${endMs}`);
    const panels = await opened.page.locator('section[data-query]').evaluateAll((sections) => sections.map((section) => ({ query: (section as HTMLElement).dataset['query']!, title: section.getAttribute('aria-label')!, shown: [...section.querySelectorAll('.legend li b')].map((value) => value.textContent) })));
    expect(panels.length).toBeGreaterThan(8);
    // What no process reports has no panel: this machine has no GPU.
    expect(panels.filter(({ query }) => query.startsWith('gpu'))).toEqual([]);
    let compared = 0;
    for (const { query, title, shown } of panels) {
      const expected = (await Promise.all((QUERIES[query as QueryName].parts({ run: RUN, rateMs: 4 * INTERVAL_MS, envelopeMs: null }) as QueryPart[]).map(async ({ value }) => {
        const answer = await fetch(`${prometheus}/api/v1/query_range`, { method: 'POST', body: new URLSearchParams({ query: toPromQl(value), start: String(startMs / 1000), end: String(endMs / 1000), step: String(INTERVAL_MS / 1000) }) });
        const { data } = (await answer.json()) as { data: { result: { values: [number, string][] }[] } };
        return data.result.map(({ values }) => formatValue(Number(values.at(-1)![1].replace('Inf', 'Infinity')), UNITS[query as QueryName]!));
      }))).flat();
      expect(shown.sort(), title).toEqual(expected.sort());
      compared += shown.length;
    }
    expect(compared).toBeGreaterThan(12);
    expect(opened.complaints).toEqual([]);
  });

  it('a point is on the page soon after its step, and the figures are those of now', async () => {
    await using opened = await open(embedded, `/?page=run&run=${RUN}`);
    const stepOf = async () => Number(/^chameleon_train_step\{.*\} (\d+)$/m.exec(await (await fetch(trainMetrics)).text())![1]);
    const before = await stepOf();
    const shown = async () => Number((await opened.page.locator('dt', { hasText: /^Step$/ }).locator('xpath=following-sibling::dd').innerText()).replace(/of .*|\D/gs, ''));
    await soon(shown).toBeGreaterThanOrEqual(before);
    expect(await shown()).toBeLessThanOrEqual(await stepOf());
    await soon(() => opened.page.locator('.badge', { hasText: 'live' }).count()).toBe(1);
  });

  it('a part can be picked by mouse, a link restores it, Escape shows all, arrows read it, and it is saved as CSV', async () => {
    await using opened = await open(embedded, '/?page=run&run=00-odd');
    const { page } = opened;
    const canvas = page.getByRole('group', { name: /^Loss: a plot/ });
    const box = (await canvas.boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.4, box.y + 80);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 80, { steps: 4 });
    await page.mouse.up();
    await soon(() => page.url()).toMatch(/zoom=\d+-\d+/);
    const [from, to] = /zoom=(\d+)-(\d+)/.exec(page.url())!.slice(1).map(Number) as [number, number];
    await page.reload();
    await canvas.waitFor();
    const legend = page.getByRole('region', { name: 'Loss' }).locator('.legend .at');
    await soon(() => legend.innerText()).toBe(`step ${to}`);
    await canvas.focus();
    await page.keyboard.press('Home');
    expect(await legend.innerText()).toBe(`step ${from}`);
    await page.keyboard.press('ArrowRight');
    expect(await legend.innerText()).toBe(`step ${from + 1}`);
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save Loss as CSV' }).click()]);
    expect(await readFile((await download.path()), 'utf8')).toMatch(new RegExp(`^step,training\\n${from},1\\n`));
    const [picture] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save Loss as PNG' }).click()]);
    expect((await readFile(await picture.path())).subarray(1, 4).toString()).toBe('PNG');
    await canvas.focus();
    await page.keyboard.press('Escape');
    await soon(() => page.url()).not.toContain('zoom');
    expect(opened.complaints).toEqual([]);
  });

  it('HTML in a class name is text, and a loss that is no number is a gap', async () => {
    await using opened = await open(embedded, '/?page=run&run=00-odd');
    expect(await opened.page.evaluate('window.broken')).toBeUndefined();
    await opened.page.getByRole('group', { name: /^Loss: a plot/ }).focus();
    await opened.page.keyboard.press('Home');
    for (let i = 0; i < 19; i++) await opened.page.keyboard.press('ArrowRight');
    await soon(() => opened.page.getByRole('region', { name: 'Loss' }).locator('.legend').innerText()).toContain('not a number');
  });

  it('an empty run and one of ten million steps are shown for what they are', async () => {
    const runs = join(folder, 'runs');
    await writeRun(runs, '00-empty', { stepCount: 0 });
    await writeFile(join(runs, '00-empty', 'events.jsonl'), '');
    const steps = Array.from({ length: 10_000 }, (_, i) => stepLine((i + 1) * 1_000, i === 7_776 ? 9 : 0.5));
    await writeRun(runs, '00-long', { stepCount: 0, end: steps.join('\n') });
    await using empty = await open(embedded, '/?page=run&run=00-empty');
    await soon(() => empty.page.getByRole('region', { name: 'Loss' }).innerText()).toContain('No step has been done yet');
    await using long = await open(embedded, '/?page=run&run=00-long');
    const loss = long.page.getByRole('region', { name: 'Loss' });
    await soon(() => loss.locator('.legend .at').innerText()).toBe('step 10,000,000');
    // The one step that stands out is in the band of its stretch.
    const { high } = curveSchema.parse(await (await fetch(`${embedded.url}/api/runs/00-long/curve?points=800`)).json());
    expect(Math.max(...high.map(Number))).toBe(9);
    expect([...empty.complaints, ...long.complaints]).toEqual([]);
  });

  it('goes on by asking when events can not be had, and hears them again when they can', async () => {
    const page = await browser.newPage();
    await page.route('**/api/live*', (route) => route.abort());
    await page.goto(`${embedded.url}/?page=run&run=${RUN}`);
    const badge = () => page.locator('.tools .badge').innerText();
    await soon(badge).toBe('polling');
    const shown = async () => Number((await page.locator('dt', { hasText: /^Step$/ }).locator('xpath=following-sibling::dd').innerText()).replace(/of .*|\D/gs, ''));
    await soon(shown).toBeGreaterThan(0);
    const before = await shown();
    await soon(shown).toBeGreaterThan(before);
    await page.unroute('**/api/live*');
    await soon(badge).toBe('live');
    await page.close();
  });

  it('a mistake is shown with its picture, and with where the model looked, by the server that serves it', async () => {
    await using opened = await open(embedded, '/?page=mistakes&run=served');
    const { page } = opened;
    const card = page.locator('.mistakes li').first();
    await card.waitFor();
    const width = (selector: string) => card.locator(selector).evaluate((picture) => (picture as unknown as { naturalWidth: number }).naturalWidth);
    await soon(() => width('img')).toBe(64);
    await card.getByRole('button', { name: 'Where it looked' }).click();
    await soon(() => width('img.heat')).toBeGreaterThan(0);
    expect(opened.complaints).toEqual([]);
  });

  it.each([['light', 1280], ['dark', 1280], ['light', 390]] as const)('no page has a fault that axe finds, or a complaint, in %s at %i px', async (theme, width) => {
    for (const path of ['/', `/?page=run&run=${RUN}`, `/?page=compare&with=served&with=${RUN}`, '/?page=serving', '/?page=mistakes&run=served']) {
      await using opened = await open(embedded, path, { width, dark: theme === 'dark' });
      expect(await violationsOf(opened.page), path).toEqual([]);
      expect(await opened.page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth'), `${path} is wider than its window`).toBe(0);
      expect(opened.complaints, path).toEqual([]);
    }
  });

  it('every query of the Grafana dashboards returns data from this Prometheus', async () => {
    for (const file of await readdir(join(MONITORING, 'grafana/dashboards'))) {
      const { panels } = JSON.parse(await readFile(join(MONITORING, 'grafana/dashboards', file), 'utf8')) as { panels: { title: string; targets: { expr: string }[] }[] };
      for (const { title, targets } of panels) {
        for (const { expr } of targets) {
          const rows = await instant(expr.replaceAll('$__rate_interval', '30s').replaceAll('$run', RUN).replaceAll('$model', '.*'));
          // This machine has no GPU.
          expect(rows.length > 0, `${file}: ${title}: ${expr}`).toBe(!title.includes('GPU'));
        }
      }
    }
  });

  it('a process that is killed is shown as gone, and its return', async () => {
    await using opened = await open(embedded, '/');
    const row = opened.page.getByRole('row', { name: new URL(trainMetrics).host });
    await soon(() => row.innerText()).toContain('up');
    await train[Symbol.asyncDispose]();
    await expect.poll(() => row.innerText(), { timeout: 10_000 }).toContain('gone');
    await startTraining(...TRAINING, '--run-dir', 'runs/next-run');
    await soon(() => row.innerText()).toContain('up');
  });

  it('a Prometheus that is gone is told of on the page, which goes on with what it has', async () => {
    await using lost = await startDashboard({ port: 0, prometheus: `http://127.0.0.1:${await freePort()}`, runsFolder: join(folder, 'runs') });
    await using opened = await open(lost, '/?page=run&run=served');
    const panel = opened.page.getByRole('region', { name: 'Images a second' });
    await soon(() => panel.innerText()).toContain("can't be reached (ECONNREFUSED)");
    expect(await opened.page.getByRole('region', { name: 'Accuracy' }).locator('.legend').innerText()).toMatch(/validation/);
  });
});

it('the page\'s scripts are under 250 kB compressed', async () => {
  const assets = fileURLToPath(new URL('../dist/page/assets/', import.meta.url));
  const scripts = (await readdir(assets)).filter((name) => name.endsWith('.js'));
  const sizes = await Promise.all(scripts.map(async (name) => gzipSync(await readFile(join(assets, name))).length));
  expect(scripts.length).toBeGreaterThan(0);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(250_000);
});

/** What the panels count, beside the queries that they draw. */
const UNITS: Partial<Record<QueryName, Unit>> = {
  loss: 'number', accuracy: 'ratio', 'learning-rates': 'learning-rate', 'images-per-second': 'images', 'step-phases': 'seconds', 'compute-share': 'ratio', 'world-size': 'count', generation: 'count',
  'checkpoint-age': 'seconds', 'heartbeat-age': 'seconds', 'worker-memory': 'bytes', 'gpu-utilization': 'ratio', 'gpu-memory': 'bytes', 'gpu-temperature': 'celsius',
  requests: 'rate', latency: 'seconds', 'predict-phases': 'seconds', 'predict-phases-p95': 'seconds', 'batch-size': 'count', 'queue-length': 'count', rejected: 'rate', 'versions-share': 'ratio', 'versions-latency': 'seconds', 'class-shares': 'ratio',
};

function expectClose(given: unknown, expected: unknown, what: string): void {
  if (typeof given !== 'number' || typeof expected !== 'number') return expect(given, what).toEqual(expected);
  if (Math.abs(given - expected) > 1e-9 * Math.max(1, Math.abs(expected))) expect(given, what).toBe(expected);
}

function pipe(program: string, args: string[], input: string): Promise<{ out: string }> {
  return new Promise((resolve) => {
    const child = execFile(program, args, (_error, stdout, stderr) => resolve({ out: stdout + stderr }));
    child.stdin!.end(input);
  });
}
