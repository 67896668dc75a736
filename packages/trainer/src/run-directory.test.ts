import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { effectiveEvents, parseEvents, type RunEvent } from './events.js';
import { explainDisk } from './files.js';
import { FILES, RunDirectory, findRun, readEvents, runId } from './run-directory.js';
import { smallConfig, temporaryFolder } from './testing/small-run.js';

const time = '2026-01-02T03:04:05.000Z';
const step = (n: number, loss = 1): RunEvent => ({ type: 'step', time, step: n, epoch: 0, loss, correct: 1, pictures: 2, learningRates: {}, dataSeconds: 0, computeSeconds: 0 });

describe('a run’s name', () => {
  it('is its time, its recipe and something that tells it from others', () => {
    expect(runId('deep-head', new Date(time), 'abcd')).toBe('20260102-030405-deep-head-abcd');
  });

  it('may be shortened as long as it means one run', async () => {
    await using folder = await temporaryFolder();
    for (const name of ['20260101-000000-deep-head-aaaa', '20260102-000000-deep-head-bbbb']) {
      await mkdir(join(folder.path, name));
      await writeFile(join(folder.path, name, 'run.yaml'), 'config: {}');
    }
    expect(await findRun('20260101', folder.path)).toMatch(/aaaa$/);
    expect(await findRun('bbbb', folder.path)).toMatch(/bbbb$/);
    expect(await findRun('last', folder.path)).toMatch(/bbbb$/);
    await expect(findRun('2026', folder.path)).rejects.toThrow(/means 2 runs/);
    await expect(findRun('20260102-000000-deep-head-bbbc', folder.path)).rejects.toThrow(/Did you mean 20260102-000000-deep-head-bbbb/);
    await expect(findRun('last', join(folder.path, 'nowhere'))).rejects.toThrow(/no runs/);
  });
});

describe('the log', () => {
  it('may end in a line that a crash cut off, and in no other way be wrong', () => {
    const whole = JSON.stringify(step(1));
    expect(parseEvents(`${whole}\n{"type":"st`)).toEqual([step(1)]);
    expect(() => parseEvents(`{"type":"st\n${whole}\n`)).toThrow(/line 1/);
  });

  it('loses the line that a crash cut off when the run goes on, and no other', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'run');
    {
      await using run = await RunDirectory.create(path, smallConfig('data'), { version: '0', backend: 'cpu', machine: {} });
      await run.append({ type: 'fault', message: 'é' });
    }
    const file = join(path, FILES.events);
    await appendFile(file, '{"type":"st');
    {
      await using run = await RunDirectory.open(path);
      await run.append({ type: 'fault', message: 'later' });
    }
    expect((await readEvents(path)).map((event) => (event.type === 'fault' ? event.message : ''))).toEqual(['é', 'later']);
    expect((await readFile(file, 'utf8')).split('\n')).toHaveLength(3);
  });

  it('keeps a loss that is no number', () => {
    const [event] = parseEvents(JSON.stringify(step(1, Number.NaN)));
    expect(event).toMatchObject({ type: 'step', loss: Number.NaN });
  });

  it('takes back the steps that were done again after resuming', () => {
    const events = [step(1), step(2), step(3, 5), { type: 'resume', time, step: 2, epoch: 0 } as RunEvent, step(3, 6)];
    expect(effectiveEvents(events).flatMap((event) => (event.type === 'step' ? [event.loss] : []))).toEqual([1, 1, 6]);
  });
});

describe('a run’s lock', () => {
  const create = (path: string) => RunDirectory.create(path, smallConfig('data'), { version: '0', backend: 'cpu', machine: {} });

  it('is taken over at once from a process of this machine that was killed', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'run');
    await (await create(path))[Symbol.asyncDispose]();
    const text = `import { RunDirectory } from '${new URL('../dist/run-directory.js', import.meta.url).href}'; await RunDirectory.open(process.argv[1]); console.log('open'); setInterval(() => {}, 1000);`;
    const other = spawn(process.execPath, ['--input-type=module', '-e', text, path], { env: { ...process.env, NODE_OPTIONS: '' }, stdio: ['ignore', 'pipe', 'inherit'] });
    await once(other.stdout, 'data');
    await expect(RunDirectory.open(path)).rejects.toThrow(/Another process is training/);
    other.kill('SIGKILL');
    await once(other, 'close');
    await (await RunDirectory.open(path))[Symbol.asyncDispose]();
    expect((await readdir(path)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('is nobody else’s while it is held, in this process or on another machine', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'run');
    await using _run = await create(path);
    await expect(RunDirectory.open(path)).rejects.toThrow(/Another process is training/);
    await writeFile(join(path, '.holder.json'), JSON.stringify({ host: 'elsewhere', pid: 1 }));
    await expect(RunDirectory.open(path)).rejects.toThrow(/Another process is training/);
  });
});

describe('what the system says of a file', () => {
  it.each([['ENOSPC', /disk is full.*--resume/s], ['EROFS', /may not be written/], ['ENOTDIR', /a file stands where a folder is needed/]])('%s becomes a sentence that says what to do', (code, pattern) => {
    expect((explainDisk(Object.assign(new Error(code), { code }), 'runs/a') as Error).message).toMatch(pattern);
  });
});
