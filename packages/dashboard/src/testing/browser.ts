import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import { type Browser, type Page, chromium } from 'playwright-core';
import { findProgram } from './prometheus.js';

const executablePath = findProgram('chromium');
export const hasBrowser = executablePath !== null;

export const openBrowser = (): Promise<Browser> => chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });

/** What axe finds wrong with a page, each with where it is. Its script is put in past the policy, which lets nothing of a page's through. */
export async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(await axeSource());
  const { violations } = await page.evaluate<AxeResults>('axe.run(document, { resultTypes: ["violations"] })');
  return violations.flatMap(({ id, help, nodes }) => nodes.map(({ html }) => `${id}: ${help}: ${html.slice(0, 200)}`));
}

async function axeSource(): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  return readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
}
