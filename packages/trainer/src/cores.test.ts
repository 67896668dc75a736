import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allowedCores, asTheyLie, formatCores, parseCores, shareOfCores } from './cores.js';

describe('lists of processors', () => {
  it('are read and written as the kernel does', () => {
    expect(parseCores('0-3,8,10-11')).toEqual([0, 1, 2, 3, 8, 10, 11]);
    expect(formatCores([11, 0, 1, 8, 3, 2, 10])).toBe('0-3,8,10-11');
    fc.assert(fc.property(fc.uniqueArray(fc.nat(255), { minLength: 1 }), (cores) => void expect(parseCores(formatCores(cores))).toEqual(cores.toSorted((a, b) => a - b))));
    if (allowedCores() !== null) expect(parseCores(allowedCores()!)).toHaveLength(availableParallelism());
  });

  it('fall into shares that have none in common and are all together, or into none', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.nat(255), { minLength: 1 }), fc.integer({ min: 1, max: 16 }), (cores, count) => {
      const shares = Array.from({ length: count }, (_, i) => shareOfCores(cores, i, count));
      if (cores.length < count) return void expect(shares).toEqual(shares.map(() => null));
      expect(shares.flat()).toEqual(cores);
      const sizes = shares.map((share) => share!.length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }));
  });

  it('have the two threads of a core side by side, whatever their numbers', () => {
    // Two sockets of two cores of two threads, numbered as is usual: first all cores, then all second threads.
    expect(asTheyLie([0, 1, 2, 3, 4, 5, 6, 7], (core) => [core % 4 < 2 ? 0 : 1, core % 2])).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
  });
});

describe.skipIf(process.platform !== 'linux' || availableParallelism() < 2)('a process that keeps to its share (on Linux with two processors or more)', () => {
  it('is on it with all its threads, and counts it as all that there is', () => {
    const text = `
      import { readFileSync, readdirSync } from 'node:fs';
      import { availableParallelism } from 'node:os';
      import { keepToShare } from '${new URL('../dist/cores.js', import.meta.url).href}';
      const count = keepToShare(Number(process.argv[1]), 2);
      const lists = readdirSync('/proc/self/task').map((task) => /^Cpus_allowed_list:\\s*(\\S+)$/m.exec(readFileSync('/proc/self/task/' + task + '/status', 'utf8'))[1]);
      console.log(JSON.stringify({ count, counted: availableParallelism(), lists: [...new Set(lists)] }));`;
    const answers = [0, 1].map((index) => JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', text, String(index)], { env: { ...process.env, NODE_OPTIONS: '' } }).toString()) as { count: number; counted: number; lists: string[] });
    for (const { count, counted, lists } of answers) {
      expect(counted).toBe(count);
      expect(lists).toHaveLength(1);
    }
    expect(answers.flatMap(({ lists }) => parseCores(lists[0]!)).sort((a, b) => a - b)).toEqual(parseCores(/^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!));
  });
});
