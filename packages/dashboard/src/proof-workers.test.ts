import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasBrowser, openBrowser } from './testing/browser.js';
import { temporaryFolder } from './testing/prometheus.js';
import { soon } from './testing/soon.js';
import { type Chameleon, Cleanup, chameleon, isBuilt } from './testing/stack.js';

/** A real coordinator with two real workers, and the dashboard as a person starts it. */
describe.skipIf(!hasBrowser || !isBuilt)('with a coordinator and two workers (left out where Chromium or the build is missing)', () => {
  const cleanup = new Cleanup();
  let folder: string, address: string, coordinator: Chameleon, second: Chameleon, browser: Browser, page: Page;

  const work = (id: string) => chameleon(folder, 'worker', '--coordinator', address, '--id', id, '--threads', '1');

  beforeAll(async () => {
    folder = cleanup.use(await temporaryFolder()).path;
    expect(await chameleon(folder, 'dataset', 'synth', 'photos', '--count', '60', '--size', '64').ended).toBe(0);
    coordinator = cleanup.use(chameleon(folder, 'coordinator', '--data', 'photos', '--epochs', '10000', '--image-size', '32', '--recipe', 'feature-extractor-bn-eval', '--run-dir', 'runs/together', '--listen', '127.0.0.1:0', '--metrics-port', '0'));
    address = await coordinator.said(/--coordinator (\S+)/);
    const metrics = new URL(await coordinator.said(/Metrics (\S+)/)).host;
    cleanup.use(work('first'));
    second = cleanup.use(work('second'));
    const dashboard = cleanup.use(chameleon(folder, 'dashboard', '--port', '0', '--target', metrics, '--interval', '1', '--coordinator', address));
    const url = await dashboard.said(/ at (http:\S+)/);
    browser = await openBrowser();
    cleanup.defer(() => browser.close());
    page = await browser.newPage();
    await page.goto(`${url}/?page=run&run=together&last=5`);
  }, 180_000);
  afterAll(() => cleanup[Symbol.asyncDispose](), 60_000);

  const workers = () => page.locator('dt', { hasText: /^Workers$/ }).locator('xpath=following-sibling::dd').innerText();
  const names = async (panel: string) => (await page.getByRole('region', { name: panel }).locator('.legend li .name').allInnerTexts()).sort();

  it('shows both, and what each of them does', async () => {
    await soon(workers).toBe('2');
    await soon(() => names('Images a second')).toEqual(['all workers', 'first', 'second']);
    await soon(() => names('Time of a step by phase')).toEqual(['backward', 'data', 'exchange', 'forward', 'optimizer']);
  });

  it('shows a worker that is killed as gone, with the reason on the curves, and its return', async () => {
    await second[Symbol.asyncDispose]();
    await soon(workers).toBe('1');
    await page.getByText('What happened').click();
    await soon(() => page.getByRole('region', { name: 'Record' }).locator('ol').innerText()).toMatch(/generation \d+ of 1 workers/);
    cleanup.use(work('second'));
    await soon(workers).toBe('2');
  });

  it('asks the run for a checkpoint, and stops it', async () => {
    const panel = page.getByRole('region', { name: 'Now' });
    await panel.getByRole('button', { name: 'Checkpoint now' }).click();
    await soon(() => panel.getByRole('status').innerText()).toMatch(/A checkpoint is left/);
    page.once('dialog', (dialog) => void dialog.accept());
    await panel.getByRole('button', { name: 'Stop' }).click();
    await soon(() => panel.locator('header .badge').innerText()).toBe('interrupted');
    await coordinator.ended;
  });
});
