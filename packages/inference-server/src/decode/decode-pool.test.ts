import { IMAGENET_NORMALIZATION, PictureError } from '@chameleon/data';
import { afterEach, expect, test } from 'vitest';
import { drawPicture } from '../testing/pictures.js';
import { DecodePool } from './decode-pool.js';

const going = new AbortController().signal;
const request = (bytes: Buffer, name = 'It') => ({ bytes, name, imageSize: 32, normalization: IMAGENET_NORMALIZATION, maxPixels: 50_000_000 });

const pools: DecodePool[] = [];
const open = (timeoutMs: number) => {
  const pool = new DecodePool({ threads: 1, timeoutMs });
  pools.push(pool);
  return pool;
};
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

test('pictures come back to who asked for them, bad ones as errors that name them', async () => {
  const pool = open(10_000);
  const [wide, bad, high] = await Promise.allSettled([pool.decode(request(await drawPicture(1, { width: 80, height: 40 })), going), pool.decode(request(Buffer.from('text'), 'Number two'), going), pool.decode(request(await drawPicture(2, { width: 40, height: 80 })), going)]);
  expect(wide).toMatchObject({ value: { width: 80, height: 40 } });
  expect(high).toMatchObject({ value: { width: 40, height: 80 } });
  expect(bad).toMatchObject({ reason: expect.any(PictureError) as unknown });
  expect((bad as PromiseRejectedResult).reason).toMatchObject({ fault: 'unknown-type', message: 'Number two is not an image we read (found: text).' });
});

test('a picture that takes too long is refused, its thread replaced, and the next one decoded', async () => {
  const hasty = open(150);
  const large = await drawPicture(1, { width: 6_000, height: 6_000, format: 'png' });
  await expect(hasty.decode(request(large, 'The large one'), going)).rejects.toMatchObject({ code: 'bad-picture', message: expect.stringContaining('The large one took more than 150 ms') as unknown });
  await expect(hasty.decode(request(await drawPicture(1)), going)).resolves.toMatchObject({ width: 90 });
});

test('a picture that nobody waits for any more is given up at once', async () => {
  const pool = open(10_000), gone = new AbortController();
  const small = await drawPicture(1), large = await drawPicture(2, { width: 4_000, height: 3_000 });
  const under = pool.decode(request(large), gone.signal), waiting = pool.decode(request(large), gone.signal);
  const first = pool.decode(request(small), going);
  gone.abort(new Error('gone'));
  await expect(under).rejects.toThrow('gone');
  await expect(waiting).rejects.toThrow('gone');
  await expect(first).resolves.toMatchObject({ width: 90 });
});

test('a closed pool refuses what waits with 503', async () => {
  const pool = open(10_000);
  const asked = [1, 2, 3].map(async (seed) => pool.decode(request(await drawPicture(seed)), going));
  const outcomes = Promise.allSettled(asked);
  await pool.close();
  for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'draining' } });
});
