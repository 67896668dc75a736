import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { within } from './within.js';

const untilAborted = (signal: AbortSignal) => new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));

describe('within a time', () => {
  it('gives what the work gives, and leaves nothing at the signal', async () => {
    const { signal } = new AbortController();
    expect(await within(1_000, signal, async ({ aborted }) => [getEventListeners(signal, 'abort').length, aborted])).toEqual([1, false]);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('aborts work that takes longer, and leaves nothing at the signal', async () => {
    const { signal } = new AbortController();
    await expect(within(10, signal, untilAborted)).rejects.toMatchObject({ name: 'TimeoutError', message: 'not done within 0.01 s' });
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('aborts work with the signal, for its reason', async () => {
    const controller = new AbortController();
    const work = within(60_000, controller.signal, untilAborted);
    controller.abort(new Error('the page is gone'));
    await expect(work).rejects.toThrow('the page is gone');
    await expect(within(60_000, controller.signal, untilAborted)).rejects.toThrow('the page is gone');
  });
});
