import { readFileSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { matMul, ones, setBackend } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { bindThreads, setThreads } from './index.js';

/** Which processors each thread of this process may use, as the kernel lists them. */
const affinities = (): string[] => readdirSync('/proc/self/task').map((task) => /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(`/proc/self/task/${task}/status`, 'utf8'))![1]!);

/** Asked before any thread is bound: a bound one counts its own processor alone. */
const processors = availableParallelism();

describe.skipIf(process.platform !== 'linux' || processors < 2)('threads that are bound (on Linux with two processors or more)', () => {
  it('have a processor each, and not all the same one', async () => {
    await setBackend('libtorch');
    setThreads(processors);
    matMul(ones([512, 512]), ones([512, 512])).dataSync();
    expect(bindThreads()).toBe(true);
    const single = affinities().filter((list) => /^\d+$/.test(list));
    expect(new Set(single).size).toBe(processors);
  });

  it('are left alone where there are fewer of them than processors', () => {
    setThreads(1);
    expect(bindThreads()).toBe(false);
  });
});
