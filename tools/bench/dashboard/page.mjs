/* global cancelAnimationFrame, document, Event, requestAnimationFrame, Response, window */
import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { chromium } = createRequire(fileURLToPath(new URL('../../../packages/dashboard/package.json', import.meta.url)))('playwright-core');

/** The Chromium in PATH, without a screen and without a GPU. */
export function openBrowser() {
  const executablePath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'chromium')).find(isProgram);
  if (!executablePath) throw new Error('Chromium is not installed: node tools/setup.mjs --with-reference brings it.');
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--enable-precise-memory-info', '--js-flags=--expose-gc'] });
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Ms until the page was first painted, and until its first panel showed figures, in a browser that has seen nothing of it. */
export async function firstPaint(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  try {
    const page = await context.newPage();
    await page.goto(url);
    await page.waitForSelector('main section h2');
    return await page.evaluate(async () => {
      const panels = performance.now();
      for (let i = 0; i < 100 && performance.getEntriesByName('first-contentful-paint').length === 0; i++) await new Promise(requestAnimationFrame);
      return { paint: performance.getEntriesByName('first-contentful-paint')[0].startTime, panels };
    });
  } finally {
    await context.close();
  }
}

/** Written into the page: when the last answer to a query was there, and when the frame after a change of a panel was drawn. */
const WATCH = (queryName) => {
  window.benchmark = { askedMs: 0, answeredMs: 0, bytes: 0 };
  const plain = window.fetch;
  window.fetch = async (...given) => {
    const isIt = String(given[0]).includes(`name=${queryName}&`);
    if (isIt) window.benchmark.askedMs = performance.now();
    const answer = await plain(...given);
    if (!isIt) return answer;
    const text = await answer.text();
    Object.assign(window.benchmark, { answeredMs: performance.now(), bytes: text.length });
    return new Response(text, { status: answer.status, headers: answer.headers });
  };
};

/** Ms from the wish to see another span until it is asked, answered and drawn. */
export async function spanDrawn(page, { queryName, panel, minutes }) {
  await page.evaluate(`(${WATCH})(${JSON.stringify(queryName)})`);
  return page.evaluate(async ({ panel, minutes }) => {
    const section = document.querySelector(`section[aria-label="${panel}"]`);
    const before = section.querySelector('.legend')?.textContent ?? '';
    const select = document.querySelector('label.span select');
    const began = performance.now();
    select.value = String(minutes);
    select.dispatchEvent(new Event('change', { bubbles: true }));
    const { answeredMs } = await new Promise((resolve) => {
      const look = () => (window.benchmark.answeredMs > began && (section.querySelector('.legend')?.textContent ?? '') !== before ? resolve(window.benchmark) : requestAnimationFrame(look));
      look();
    });
    // The frame with the new lines is on its way: what comes after the next one has been drawn.
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    const drawn = performance.now();
    return { asked: window.benchmark.askedMs - began, answer: answeredMs - window.benchmark.askedMs, draw: drawn - answeredMs, whole: drawn - began, bytes: window.benchmark.bytes };
  }, { panel, minutes });
}

/** Lengths of the frames, in ms, while something is done to the page. */
export async function framesDuring(page, work) {
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    const look = (now) => {
      window.frames_.push(now - last);
      last = now;
      window.frame_ = requestAnimationFrame(look);
    };
    window.frame_ = requestAnimationFrame(look);
  });
  await work();
  return page.evaluate(() => {
    cancelAnimationFrame(window.frame_);
    return window.frames_.slice(1);
  });
}

/** Bytes of the page's heap after a collection. */
export async function heapBytes(page) {
  const session = await page.context().newCDPSession(page);
  try {
    await session.send('HeapProfiler.collectGarbage');
    const { metrics } = await session.send('Performance.enable').then(() => session.send('Performance.getMetrics'));
    return metrics.find(({ name }) => name === 'JSHeapUsedSize').value;
  } finally {
    await session.detach();
  }
}
