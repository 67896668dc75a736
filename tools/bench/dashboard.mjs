/* global document, location, requestAnimationFrame, window */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { beginRun, writeHistory, writeRuns } from './dashboard/data.mjs';
import { firstPaint, framesDuring, heapBytes, openBrowser, spanDrawn } from './dashboard/page.mjs';
import { tableOf } from './dashboard/table.mjs';
import { CHAMELEON, pause, start, startDashboard, startTargets, usage } from './dashboard/processes.mjs';
import { keepResults } from './serve/results.mjs';
import { median, percentile, rounded } from './serve/statistics.mjs';

/** What the dashboard costs, and how fast it is: in a real Chromium, on the built page, with real processes. */
export const HELP = `Usage: npm run bench -- dashboard [options]

Needs a build, and Chromium (node tools/setup.mjs --with-reference).

  --parts LIST     of bytes, paint, range, zoom, latency, scraper, frozen, soak (default: all)
  --minutes N      of the soak (default: 10; 480 are eight hours)
  --interval S     between two scrapes of the soak (default: 5, as the dashboard's; at 0.25 the 5,760 updates of eight hours pass
                   in 24 minutes)
  --steps N        of each of the 20 runs that are zoomed (default: 1000000)
  --table FILE     measure nothing; print the results in FILE as a table
  --json           print the results as JSON
  --to FILE        and write them there; parts that are not measured now keep what the file has

Example: npm run bench -- dashboard --json --to benchmarks/results/dashboard.json
`;

const ASSETS = fileURLToPath(new URL('../../packages/dashboard/dist/page/assets/', import.meta.url));
const MEASURES = { bytes, paint, range, zoom, latency, scraper, frozen, soak };

export async function main(args) {
  const { values } = parseArgs({ args, options: { parts: { type: 'string', default: Object.keys(MEASURES).join() }, minutes: { type: 'string', default: '10' }, interval: { type: 'string', default: '5' }, steps: { type: 'string', default: '1000000' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, table: { type: 'string' }, help: { type: 'boolean', default: false } } });
  if (values.help) return void process.stdout.write(HELP);
  if (values.table) return void process.stdout.write(tableOf(JSON.parse(await readFile(values.table, 'utf8'))));
  const parts = values.parts.split(',');
  const unknown = parts.find((part) => !(part in MEASURES));
  if (unknown !== undefined) throw new Error(`There is no part called ${unknown}. Choose of ${Object.keys(MEASURES).join(', ')}.`);
  const before = values.to ? await readFile(values.to, 'utf8').then(JSON.parse, () => ({})) : {};
  const results = { ...before };
  for (const part of parts) {
    const folder = await mkdtemp(join(tmpdir(), 'chameleon-bench-'));
    const ends = [() => rm(folder, { recursive: true, force: true })];
    /** What a measurement starts is ended after it, the last first. */
    const use = async (starting) => {
      const started = await starting;
      ends.unshift(() => (started.stop ? started.stop() : started.close()));
      return started;
    };
    try {
      results[part] = { command: ['npm run bench -- dashboard --parts', part, ...(part === 'soak' ? ['--minutes', values.minutes, '--interval', values.interval] : [])].join(' '), ...(await facts()), ...(await MEASURES[part]({ folder, use, minutes: Number(values.minutes), interval: values.interval, steps: Number(values.steps) })) };
    } finally {
      for (const end of ends) await end();
    }
    if (values.to) await keepResults(values.to, results);
    if (!values.json) process.stdout.write(`${part}: ${JSON.stringify(results[part], null, 1)}\n`);
  }
  if (values.json) process.stdout.write(`${JSON.stringify(results, null, 1)}\n`);
}

/** The machine and the versions that figures belong to. */
async function facts() {
  const versionOf = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version;
  const browser = await openBrowser();
  const chromium = browser.version();
  await browser.close();
  return {
    date: new Date().toISOString(),
    machine: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    versions: { chameleon: versionOf('../../package.json'), node: process.versions.node, chromium, uplot: versionOf('../../node_modules/uplot/package.json'), react: versionOf('../../node_modules/react/package.json') },
  };
}

/** The page's scripts and styles as they travel. */
async function bytes() {
  const files = (await readdir(ASSETS)).filter((name) => /\.(js|css)$/.test(name));
  const sizes = await Promise.all(files.map(async (name) => [name.endsWith('.js') ? 'scripts' : 'styles', gzipSync(await readFile(join(ASSETS, name)), { level: 9 }).length]));
  return { compressedBytes: { scripts: sum(sizes, 'scripts'), styles: sum(sizes, 'styles') } };
}
const sum = (sizes, kind) => sizes.filter(([name]) => name === kind).reduce((total, [, size]) => total + size, 0);

/** From an empty cache to the first paint, seven times. */
async function paint({ folder, use }) {
  await writeRuns(folder, { runCount: 20, stepCount: 1_000, fileCount: 1 });
  const dashboard = await use(startDashboard(['--memory-only', '--runs', folder], folder));
  const browser = await use(openBrowser());
  await firstPaint(browser, dashboard.said);
  const taken = [];
  for (let i = 0; i < 7; i++) taken.push(await firstPaint(browser, dashboard.said));
  return { ms: { paint: spread(taken.map(({ paint: ms }) => ms)), panels: spread(taken.map(({ panels }) => panels)) } };
}

/** 24 hours of 20 series, scraped every 5 s: asked for, answered and drawn. */
async function range({ folder, use }) {
  const target = 'http://127.0.0.1:1/metrics {"job":"chameleon","instance":"simulated"}';
  const samples = await writeHistory(join(folder, 'history'), { hours: 24, seriesCount: 20, target });
  const dashboard = await use(startDashboard(['--history', join(folder, 'history'), '--retention', '25', '--max-megabytes', '1000', '--runs', folder], folder));
  const browser = await use(openBrowser());
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const taken = [];
  for (let i = 0; i < 7; i++) {
    await page.goto(`${dashboard.said}/?page=run&run=r&last=60`);
    await page.waitForSelector('section[aria-label="Memory of each worker"] .legend li:nth-child(20)');
    taken.push(await spanDrawn(page, { queryName: 'worker-memory', panel: 'Memory of each worker', minutes: 1440 }));
  }
  return { samples, ms: { answer: spread(taken.map(({ answer }) => answer)), draw: spread(taken.map(({ draw }) => draw)), whole: spread(taken.map(({ whole }) => whole)) }, answerBytes: taken[0].bytes };
}

/** 20 runs of a million points each in one plot: picking a part of it by mouse, and going back, five times. */
async function zoom({ folder, use, steps }) {
  await writeRuns(folder, { runCount: 20, stepCount: steps, fileCount: 4 });
  const dashboard = await use(startDashboard(['--memory-only', '--runs', folder], folder));
  const browser = await use(openBrowser());
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const names = Array.from({ length: 20 }, (_, i) => `run-${String(i).padStart(2, '0')}`);
  const began = performance.now();
  await page.goto(`${dashboard.said}/?page=compare&${names.map((name) => `with=${name}`).join('&')}`);
  for (const name of names) while ((await (await fetch(`${dashboard.said}/api/runs/${name}`)).json()).readShare < 1) await pause(200);
  const readSeconds = (performance.now() - began) / 1000;
  const canvas = page.getByRole('group', { name: /^Training loss: a plot/ });
  await canvas.waitFor();
  await pause(2_000);
  const hover = await framesDuring(page, () => moveOver(page, canvas, 4_000));
  const zooms = [];
  const frames = [];
  for (let i = 0; i < 5; i++) {
    frames.push(...(await framesDuring(page, async () => {
      zooms.push(await pickPart(page, canvas, 0.2 + 0.1 * i, 0.5 + 0.08 * i));
      await pause(500);
      await canvas.press('Escape');
      await page.waitForFunction(() => !location.search.includes('zoom='));
      await pause(500);
    })));
  }
  return { stepsOfEachRun: steps, readSeconds: Math.round(10 * readSeconds) / 10, frameMs: { hover: spread(hover), zoom: spread(frames) }, longestFrameMs: Math.round(Math.max(...frames)), zoomToFinerMs: spread(zooms), serverResidentMiB: Math.round(usage(dashboard.pid).residentBytes / 2 ** 20) };
}

async function moveOver(page, canvas, ms) {
  const box = await canvas.boundingBox();
  for (const endMs = performance.now() + ms; performance.now() < endMs; ) {
    for (let i = 0; i <= 20; i++) await page.mouse.move(box.x + 80 + ((box.width - 100) * i) / 20, box.y + 90);
  }
}

/** Ms from letting the button go until all runs' finer points are on the page. */
async function pickPart(page, canvas, from, to) {
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width * from, box.y + 80);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * to, box.y + 80, { steps: 10 });
  await page.evaluate(() => {
    window.finer_ = 0;
    const plain = (window.plain_ ??= window.fetch);
    window.fetch = async (...given) => {
      const answer = await plain(...given);
      if (/\/curve\?.*from=/.test(String(given[0]))) window.finer_++;
      return answer;
    };
  });
  const began = performance.now();
  await page.mouse.up();
  await page.waitForFunction(() => window.finer_ >= 20, undefined, { polling: 'raf' });
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
  return performance.now() - began;
}

/** From a real run's step, by the time in its record, to the frame of the page that shows it. */
async function latency({ folder, use }) {
  const train = await use(startTraining(folder));
  const dashboard = await use(startDashboard(['--memory-only', '--interval', '1', '--target', new URL(train.said).host], folder));
  const browser = await use(openBrowser());
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(`${dashboard.said}/?page=run&run=watched`);
  await page.waitForSelector('section[aria-label="Loss"] .legend .at');
  const seen = await page.evaluate(() => new Promise((resolve) => {
    const seen = new Map();
    const endMs = Date.now() + 20_000;
    const look = () => {
      const step = Number(/[\d,]+/.exec(document.querySelector('section[aria-label="Loss"] .legend .at')?.textContent ?? '')?.[0].replaceAll(',', ''));
      if (step > 0 && !seen.has(step)) seen.set(step, Date.now());
      if (Date.now() < endMs) requestAnimationFrame(look);
      else resolve([...seen]);
    };
    look();
  }));
  const written = new Map((await readFile(join(folder, 'runs', 'watched', 'events.jsonl'), 'utf8')).split('\n').filter((line) => line.includes('"type":"step"')).map((line) => JSON.parse(line)).map(({ step, time }) => [step, Date.parse(time)]));
  const late = seen.slice(1).filter(([step]) => written.has(step)).map(([step, atMs]) => atMs - written.get(step));
  return { steps: late.length, stepToPointMs: spread(late), longestMs: Math.max(...late) };
}

/** A run that trains on, of its own accord, until it is stopped. */
async function startTraining(folder) {
  execFileSync(process.execPath, [CHAMELEON, 'dataset', 'synth', 'photos', '--count', '60', '--size', '64'], { cwd: folder, stdio: 'ignore' });
  return start([CHAMELEON, 'train', '--data', 'photos', '--epochs', '10000', '--image-size', '64', '--threads', '1', '--run-dir', 'runs/watched', '--metrics-port', '0'], /metrics at (\S+)/, { cwd: folder });
}

/** CPU of the embedded scraper with 64 workers, without and with the disk. */
async function scraper({ folder, use }) {
  const targets = await use(startTargets(64));
  const body = await (await fetch(targets.urls[0])).text();
  const measure = async (...args) => {
    const dashboard = await (startDashboard(['--target', targets.urls.join(), '--runs', folder, ...args], folder));
    await pause(12_000);
    const before = usage(dashboard.pid), began = performance.now();
    await pause(25_000);
    const share = (usage(dashboard.pid).cpuSeconds - before.cpuSeconds) / ((performance.now() - began) / 1000);
    await dashboard.stop();
    return Math.round(10_000 * share) / 10_000;
  };
  const every5s = await measure('--memory-only'), every5sAndDisk = await measure('--history', join(folder, 'history'));
  return { targets: 64, seriesEach: body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length, coreShare: { every5s, every5sAndDisk } };
}

/** Steps of a real run while nobody watches, while a dashboard scrapes it each second, and while that dashboard is frozen; in turns. */
async function frozen({ folder, use }) {
  const train = await use(startTraining(folder));
  const host = new URL(train.said).host;
  const turns = { unwatched: [], watched: [], frozen: [] };
  for (let turn = 0; turn < 3; turn++) {
    await pause(2_000);
    await during(turns.unwatched);
    const dashboard = await (startDashboard(['--memory-only', '--interval', '1', '--target', host, '--runs', join(folder, 'none')], folder));
    await pause(2_000);
    await during(turns.watched);
    process.kill(dashboard.pid, 'SIGSTOP');
    await pause(2_000);
    await during(turns.frozen);
    await dashboard.stop();
  }
  const steps = (await readFile(join(folder, 'runs', 'watched', 'events.jsonl'), 'utf8')).split('\n').filter((line) => line.includes('"type":"step"')).map((line) => JSON.parse(line));
  const lengths = (spans) => steps.filter(({ time }) => spans.some(([from, to]) => Date.parse(time) > from && Date.parse(time) <= to)).map(({ dataSeconds, computeSeconds }) => 1000 * (dataSeconds + computeSeconds));
  return { steps: Object.fromEntries(Object.entries(turns).map(([name, spans]) => [name, lengths(spans).length])), stepMs: Object.fromEntries(Object.entries(turns).map(([name, spans]) => [name, spread(lengths(spans))])) };
}

async function during(spans) {
  const from = Date.now();
  await pause(5_000);
  spans.push([from, Date.now()]);
}

/**
 * A page that is open on a run of 64 simulated workers, which step ten times a second and are scraped every `interval` seconds. The history holds three
 * minutes and the page shows two, so that both are full long before memory is compared.
 */
async function soak({ folder, use, minutes, interval }) {
  const targets = await use(startTargets(64));
  const run = await use(beginRun(join(folder, 'runs'), 'simulated', 1e6));
  const dashboard = await use(startDashboard(['--target', targets.urls.join(), '--runs', join(folder, 'runs'), '--interval', interval, '--retention', '0.05', '--history', join(folder, 'history')], folder));
  const browser = await use(openBrowser());
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  let updates = 0;
  page.on('response', (response) => response.url().includes('name=step-phases&') && updates++);
  await page.goto(`${dashboard.said}/?page=run&run=simulated&last=2`);
  const taken = [];
  for (const began = performance.now(); performance.now() - began < minutes * 60_000; ) {
    await pause(15_000);
    taken.push({ minute: (performance.now() - began) / 60_000, heapMiB: (await heapBytes(page)) / 2 ** 20, residentMiB: usage(dashboard.pid).residentBytes / 2 ** 20 });
  }
  const settled = taken.filter(({ minute }) => minute > Math.min(4, minutes / 2));
  const of = (name) => ({ first: Math.round(10 * settled[0][name]) / 10, last: Math.round(10 * settled.at(-1)[name]) / 10, slopeMiBAnHour: Math.round(100 * 60 * slope(settled.map(({ minute }) => minute), settled.map((point) => point[name]))) / 100 });
  return { minutes, intervalSeconds: Number(interval), workers: 64, updatesOfThePage: updates, steps: run.step, pageHeapMiB: of('heapMiB'), serverResidentMiB: of('residentMiB') };
}

/** Of the straight line through the points. */
function slope(xs, ys) {
  const [x, y] = [mean(xs), mean(ys)];
  return xs.reduce((total, value, i) => total + (value - x) * (ys[i] - y), 0) / xs.reduce((total, value) => total + (value - x) ** 2, 0);
}
const mean = (values) => values.reduce((total, value) => total + value, 0) / values.length;
const spread = (values) => rounded({ median: median(values), p95: percentile(values, 0.95) });
