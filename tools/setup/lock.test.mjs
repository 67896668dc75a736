import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { holderName, withLock } from './lock.mjs';
import { temporaryFolder } from './testing.mjs';

const options = { signal: new AbortController().signal, deadlineMs: 60_000, onWait: () => {} };

describe('the lock', () => {
  it('is there while the work is done, and gone after it, whether or not it failed', async () => {
    const folder = temporaryFolder();
    const path = join(folder, '.setup', 'lock');
    const seen = await withLock(path, options, async () => readFileSync(path, 'utf8'));
    expect(seen).toBe(holderName(process.pid));
    await expect(withLock(path, options, () => Promise.reject(new Error('it failed')))).rejects.toThrow('it failed');
    expect(readdirSync(join(folder, '.setup'))).toEqual([]);
  });

  it('lets one at a time work, in whatever order', async () => {
    const path = join(temporaryFolder(), 'lock');
    const told = [];
    let inside = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++inside);
      await new Promise((resolve) => setTimeout(resolve, 10));
      inside--;
    };
    await Promise.all(Array.from({ length: 4 }, () => withLock(path, { ...options, onWait: (pid) => told.push(pid) }, work)));
    expect(most).toBe(1);
    expect(told).toEqual(Array(3).fill(String(process.pid)));
  });

  it.each([
    ['a process that has ended', () => `${execFileSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }).trim()} 1`],
    ["a number that another process has now", () => `${process.pid} 1`],
    ['nobody', () => ''],
  ])('of %s is taken over', async (_what, holder) => {
    const path = join(temporaryFolder(), 'lock');
    writeFileSync(path, holder());
    expect(await withLock(path, options, async () => 'done')).toBe('done');
    expect(existsSync(path)).toBe(false);
  });

  it('of a process that is at work is respected to the deadline, and then named', async () => {
    const path = join(temporaryFolder(), 'lock');
    writeFileSync(path, holderName(process.ppid));
    const error = await withLock(path, { ...options, deadlineMs: 1 }, async () => 'done').catch((e) => e);
    expect(error.message).toContain(`process ${process.ppid}`);
    expect(error.remedy).toContain(path);
    expect(readFileSync(path, 'utf8')).toBe(holderName(process.ppid));
  });

  it('lets an interruption end the wait', async () => {
    const path = join(temporaryFolder(), 'lock');
    writeFileSync(path, holderName(process.ppid));
    const controller = new AbortController();
    const reason = new Error('interrupted');
    await expect(withLock(path, { ...options, signal: controller.signal, onWait: () => controller.abort(reason) }, async () => 'done')).rejects.toBe(reason);
  });
});
