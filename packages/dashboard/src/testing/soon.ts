import { expect } from 'vitest';

/** What is expected to come true, however busy the machine is. */
export const soon = <Value>(ask: () => Value | Promise<Value>) => expect.poll(ask, { timeout: 30_000 });
