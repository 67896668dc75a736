import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasOpenssl, signCertificates } from './testing/authority.js';
import { hasBrowser, openBrowser, violationsOf } from './testing/browser.js';
import { freePort, temporaryFolder } from './testing/prometheus.js';
import { soon } from './testing/soon.js';
import { type Chameleon, Cleanup, chameleon, isBuilt } from './testing/stack.js';

/** What the page promises of a worker that is killed, and of its return. */
const SHOWN_WITHIN_MS = 10_000;
const PROVEN = ['--tls-ca', 'ca.pem', '--tls-cert', 'client.pem', '--tls-key', 'client.key', '--join-token-file', 'token'];

/** A real coordinator that demands certificates and a token, two real workers, and the dashboard as a person starts it. */
describe.skipIf(!hasBrowser || !isBuilt || !hasOpenssl)('with a coordinator and two workers (left out where Chromium, OpenSSL or the build is missing)', () => {
  const cleanup = new Cleanup();
  let folder: string, address: string, coordinator: Chameleon, second: Chameleon, secondPort: number, browser: Browser, page: Page, url: string;

  const work = (id: string, ...more: string[]) => chameleon(folder, 'worker', '--coordinator', address, '--id', id, '--threads', '1', ...PROVEN, ...more);
  const workAsSecond = () => work('second', '--metrics-port', String(secondPort));

  beforeAll(async () => {
    folder = cleanup.use(await temporaryFolder()).path;
    signCertificates(folder);
    await writeFile(join(folder, 'token'), 'a token of the tests\n');
    expect(await chameleon(folder, 'dataset', 'synth', 'photos', '--count', '60', '--size', '64').ended).toBe(0);
    coordinator = cleanup.use(chameleon(folder, 'coordinator', '--data', 'photos', '--epochs', '10000', '--image-size', '32', '--recipe', 'feature-extractor-bn-eval', '--run-dir', 'runs/together', '--listen', '127.0.0.1:0', '--metrics-port', '0', '--tls-ca', 'ca.pem', '--tls-cert', 'server.pem', '--tls-key', 'server.key', '--join-token-file', 'token'));
    address = await coordinator.said(/--coordinator (\S+)/);
    const metrics = new URL(await coordinator.said(/Metrics (\S+)/)).host;
    secondPort = await freePort();
    cleanup.use(work('first'));
    second = cleanup.use(workAsSecond());
    const dashboard = cleanup.use(chameleon(folder, 'dashboard', '--port', '0', '--target', `${metrics},127.0.0.1:${secondPort}`, '--interval', '1', '--coordinator', address, ...PROVEN));
    url = await dashboard.said(/ at (http:\S+)/);
    browser = await openBrowser();
    cleanup.defer(() => browser.close());
    page = await browser.newPage();
    await page.goto(`${url}/?page=run&run=together&last=5`);
  }, 180_000);
  afterAll(() => cleanup[Symbol.asyncDispose](), 60_000);

  const workers = () => page.locator('dt', { hasText: /^Workers$/ }).locator('xpath=following-sibling::dd').innerText();
  const names = async (panel: string) => (await page.getByRole('region', { name: panel, exact: true }).locator('.legend li .name').allInnerTexts()).sort();
  const record = async () => page.getByRole('region', { name: 'Record' }).locator('ol').innerText();
  const facts = async (type: string) => (await readFile(join(folder, 'runs', 'together', 'events.jsonl'), 'utf8')).split('\n').filter((line) => line.includes(`"type":"${type}"`)).map((line) => JSON.parse(line) as Record<string, unknown>);
  const accept = () => page.once('dialog', (dialog) => void dialog.accept());

  it('shows both, and what each of them does', async () => {
    await soon(workers).toBe('2');
    await soon(() => names('Images a second')).toEqual(['all workers', 'first', 'second']);
    await soon(() => names('Time of a step by phase')).toEqual(['backward', 'data', 'exchange', 'forward', 'optimizer']);
    await page.getByText('What happened').click();
  });

  it('shows within ten seconds a worker that is killed as gone, with the reason on the curves and its process among those that are gone, and its return', async () => {
    const overview = await browser.newPage();
    await overview.goto(url);
    const health = () => overview.getByRole('region', { name: 'Processes', exact: true }).locator('tr', { hasText: `:${secondPort}` }).locator('.badge').innerText();
    await soon(health).toBe('up');
    await second[Symbol.asyncDispose]();
    const within = <Value>(ask: () => Promise<Value>) => expect.poll(ask, { timeout: SHOWN_WITHIN_MS });
    await Promise.all([within(workers).toBe('1'), within(record).toMatch(/generation \d+ of 1 workers: .*second/), within(health).toBe('gone')]);
    second = cleanup.use(workAsSecond());
    await second.said(/worker (second) is in the run/);
    await Promise.all([within(workers).toBe('2'), within(record).toMatch(/generation \d+ of 2 workers/), within(health).toBe('up')]);
    await overview.close();
  });

  it('changes a learning rate and unfreezes the body while both train: on all of them at one step, in the record and on the curves', async () => {
    const panel = page.getByRole('region', { name: 'Settings of the live run' });
    await soon(() => names('Learning rate of each group')).toEqual(['head']);
    accept();
    await panel.getByLabel('Learning rate of head').first().fill('5e-4');
    await panel.getByRole('button', { name: 'Set the learning rate of head' }).click();
    await soon(() => panel.getByRole('status').innerText()).toBe('The learning rate of head is 0.0005 from the next step on.');
    accept();
    await panel.getByRole('button', { name: 'Unfreeze the body' }).click();
    await soon(() => names('Learning rate of each group')).toEqual(['body', 'head']);
    await soon(() => panel.innerText()).toContain('Everything learns.');
    await soon(record).toMatch(/change\s+step [\d,]+: learning rate of head set to 0\.0005[^]*change\s+step [\d,]+: everything learns/);
    const changes = await facts('change');
    expect(changes).toMatchObject([{ id: 1, change: { kind: 'set-rate', group: 'head', learningRate: 0.0005 } }, { id: 2, change: { kind: 'unfreeze' } }]);
    const ratesAfter = (step: number) => facts('step').then((steps) => steps.find((fact) => fact['step'] === step + 1)?.['learningRates']);
    const [rate, unfreeze] = changes.map(({ step }) => step as number) as [number, number];
    expect(await ratesAfter(rate - 1)).toEqual({ head: 0.001 });
    expect(await ratesAfter(rate)).toEqual({ head: 0.0005 });
    expect(await ratesAfter(unfreeze)).toEqual({ head: 0.0005, body: 0.00001 });
    expect(await facts('command')).toMatchObject([{ command: 'set-rate', detail: { group: 'head', learningRate: 0.0005 } }, { command: 'unfreeze' }]);
    expect(await violationsOf(page)).toEqual([]);
  });

  it('says on the page why a change can not be had, and changes nothing', async () => {
    const panel = page.getByRole('region', { name: 'Settings of the live run' });
    accept();
    await panel.getByLabel('Learning rate of head').first().fill('0');
    await panel.getByRole('button', { name: 'Set the learning rate of head' }).click();
    await soon(() => panel.getByRole('status').innerText()).toContain('it has to be above 0');
    await panel.getByLabel('Learning rate of head').first().fill('-1');
    await panel.getByRole('button', { name: 'Set the learning rate of head' }).click();
    expect(await panel.getByLabel('Learning rate of head').first().evaluate((input) => (input as HTMLInputElement).validity.patternMismatch)).toBe(true);
    expect(await facts('change')).toHaveLength(2);
  });

  it('asks the run for a checkpoint, and stops it', async () => {
    const panel = page.getByRole('region', { name: 'Now' });
    await panel.getByRole('button', { name: 'Checkpoint now' }).click();
    await soon(() => panel.locator('.actions').getByRole('status').innerText()).toMatch(/A checkpoint is left/);
    accept();
    await panel.getByRole('button', { name: 'Stop' }).click();
    await soon(() => panel.locator('header .badge').innerText()).toBe('interrupted');
    await coordinator.ended;
  });
});
