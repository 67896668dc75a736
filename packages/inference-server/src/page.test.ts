import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Browser, type BrowserContextOptions, type Page, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, CHROMIUM_FLAGS } from './testing/browser.js';
import { temporaryFolder, writeRandomModel } from './testing/models.js';
import { drawPicture } from './testing/pictures.js';
import { startTestServer } from './testing/server.js';

/** The page in a real browser. CHAMELEON_SCREENSHOTS names a folder that pictures of it go to, for a person to look at. */

let server: Awaited<ReturnType<typeof startTestServer>>, folder: Awaited<ReturnType<typeof temporaryFolder>>, browser: Browser, picture: { name: string; mimeType: string; buffer: Buffer };
const hasChromium = existsSync(CHROMIUM);

beforeAll(async () => {
  if (!hasChromium) return;
  folder = await temporaryFolder();
  await writeRandomModel(folder.path, { lively: true });
  server = await startTestServer({ models: [{ path: folder.path }] });
  browser = await chromium.launch({ executablePath: CHROMIUM, args: [...CHROMIUM_FLAGS, '--deny-permission-prompts'] });
  picture = { name: 'soldier.jpg', mimeType: 'image/jpeg', buffer: await photograph() };
});
afterAll(async () => {
  await browser?.close();
  await server?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

async function photograph(): Promise<Buffer> {
  const data = process.env.CHAMELEON_TEST_DATA;
  if (!data) return drawPicture(3, { width: 320, height: 240 });
  const photographs = join(data, 'images/camouflage/val/camouflage_clothes');
  return readFile(join(photographs, (await readdir(photographs)).sort()[0]!));
}

/** Opens the page, and fails the test when a script or a resource fails. */
async function open(options: BrowserContextOptions, work: (page: Page) => Promise<void>, path = '/'): Promise<void> {
  const context = await browser.newContext(options), page = await context.newPage(), faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('requestfailed', (request) => faults.push(request.url()));
  try {
    await page.goto(`${server.url}${path}`);
    await work(page);
    expect(faults).toEqual([]);
  } finally {
    await context.close();
  }
}

async function screenshot(page: Page, name: string): Promise<void> {
  const to = process.env.CHAMELEON_SCREENSHOTS;
  if (!to) return;
  await mkdir(to, { recursive: true });
  await page.screenshot({ path: join(to, `${name}.png`), fullPage: true });
}

const answered = (page: Page) => page.locator('#status').filter({ hasText: '%' }).waitFor();
const isWiderThanScreen = (page: Page) => page.evaluate<boolean>('document.documentElement.scrollWidth > innerWidth');

/** What axe finds against WCAG 2.2 AA, in short. */
async function axe(page: Page): Promise<string[]> {
  // The page's own policy lets no other script in: axe runs as the browser's, not the page's.
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: { run: (options: object) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }).axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

describe.skipIf(!hasChromium)(`the page (needs ${CHROMIUM})`, () => {
  test.each([
    ['light', { colorScheme: 'light', viewport: { width: 1280, height: 800 } }],
    ['dark', { colorScheme: 'dark', viewport: { width: 1280, height: 800 } }],
    ['phone', { colorScheme: 'light', viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
  ] as [string, BrowserContextOptions][])('shows classes and heat map, readable for everybody (%s)', async (name, options) => {
    await open(options, async (page) => {
      expect(await axe(page)).toEqual([]);
      await page.locator('#file').setInputFiles(picture);
      await answered(page);
      expect(await page.locator('#classes li').allTextContents()).toHaveLength(3);
      expect(await page.locator('#status').textContent()).toMatch(/^(camouflage|normal|unclear): [\d.]+ %$/);
      await expect.poll(() => page.locator('#picture').evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth)).toBeGreaterThan(0);
      const [heat, whole] = [await page.locator('#heat').boundingBox(), await page.locator('#picture').boundingBox()];
      expect(heat!.width).toBeGreaterThan(20);
      expect(heat!.x).toBeGreaterThanOrEqual(whole!.x - 1);
      expect(heat!.y + heat!.height).toBeLessThanOrEqual(whole!.y + whole!.height + 1);
      expect(await axe(page)).toEqual([]);
      expect(await isWiderThanScreen(page)).toBe(false);
      await screenshot(page, name);
    });
  });

  test('takes a picture that is dropped, hides the heat, and explains another class', async () => {
    await open({}, async (page) => {
      const transfer = await page.evaluateHandle(`(() => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(${JSON.stringify([...picture.buffer])})], 'dropped.jpg', { type: 'image/jpeg' }));
        return data;
      })()`);
      await page.dispatchEvent('#drop', 'drop', { dataTransfer: transfer });
      await answered(page);
      await page.locator('#show-heat').uncheck();
      expect(await page.locator('#heat').isHidden()).toBe(true);
      await page.locator('#show-heat').check();
      const before = await page.locator('#heat').getAttribute('src');
      const other = (await page.locator('#heat-class option').allTextContents()).at(-1)!;
      await page.locator('#heat-class').selectOption(other);
      await expect.poll(() => page.locator('#heat').getAttribute('src')).not.toBe(before);
      expect(await page.locator('#heat-class').inputValue()).toBe(other);
    });
  });

  test('says what is wrong with a file, with the camera and with a server that has gone', async () => {
    await open({}, async (page) => {
      await page.locator('#file').setInputFiles({ name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('no picture') });
      await page.locator('#error').filter({ hasText: 'not an image we read' }).waitFor();
      expect(await page.locator('#result').isHidden()).toBe(true);
      await screenshot(page, 'error');
      await page.locator('#camera').click();
      await page.locator('#error').filter({ hasText: 'The camera can not be used' }).waitFor();
      expect(await axe(page)).toEqual([]);
      await page.locator('#file').setInputFiles(picture);
      await answered(page);
      expect(await page.locator('#error').isHidden()).toBe(true);
    });
    const context = await browser.newContext(), page = await context.newPage();
    await page.goto(server.url);
    await context.setOffline(true);
    await page.locator('#file').setInputFiles(picture);
    await page.locator('#error').filter({ hasText: 'does not answer' }).waitFor();
    await context.close();
  });

  test('is used by keyboard alone', async () => {
    await open({}, async (page) => {
      const focused = () => page.evaluate<string>('document.activeElement?.id ?? ""');
      // Set long before the key is pressed: a chooser that opens sooner is the browser's own, of which nobody hears.
      page.on('filechooser', (chooser) => void chooser.setFiles(picture));
      await page.keyboard.press('Tab');
      expect(await focused()).toBe('file');
      await page.keyboard.press('Enter');
      await answered(page);
      // The heat map, and the switch for it, come after the classes.
      await page.locator('#heat').waitFor({ state: 'visible' });
      await page.keyboard.press('Tab');
      expect(await focused()).toBe('camera');
      await page.keyboard.press('Tab');
      expect(await focused()).toBe('show-heat');
      await page.keyboard.press('Space');
      await page.locator('#heat').waitFor({ state: 'hidden' });
    });
  });

  test('the documentation of the calls is readable for everybody, on a phone too', async () => {
    await open({ viewport: { width: 360, height: 740 }, isMobile: true }, async (page) => {
      expect(await axe(page)).toEqual([]);
      expect(await isWiderThanScreen(page)).toBe(false);
      await screenshot(page, 'docs-phone');
    }, '/docs');
  });
});
