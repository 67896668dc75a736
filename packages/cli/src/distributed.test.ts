import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { drawDataset } from '@chameleon/data';
import { parseCores } from '@chameleon/trainer';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { placeOf } from './commands/worker.js';

const bin = fileURLToPath(new URL('../bin/chameleon.js', import.meta.url));
const env = { ...process.env, NODE_OPTIONS: '', CHAMELEON_JOIN_TOKEN: '' };
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chameleon-workers-'));
  await drawDataset(join(folder, 'photos'), { count: 30, size: 64 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Started {
  /** Lines of its output; those of a run's facts parsed. */
  facts: { type: string; step?: number; address?: string; metrics?: string; workers?: string[] }[];
  /** All that it printed. */
  said: string[];
  ended: Promise<number | null>;
  pid: number;
  interrupt(): void;
}

function chameleonWith(more: NodeJS.ProcessEnv, ...args: string[]): Started {
  const child = spawn(process.execPath, [bin, ...args], { cwd: folder, env: { ...env, ...more }, stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const facts: Started['facts'] = [];
  const said: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => said.push(line));
  createInterface({ input: child.stdout }).on('line', (line) => said.push(line) && line.startsWith('{') && facts.push(JSON.parse(line) as Started['facts'][number]));
  return { facts, said, pid: child.pid!, ended: new Promise((resolve) => child.once('exit', resolve)), interrupt: () => void child.kill('SIGINT') };
}

const chameleon = (...args: string[]): Started => chameleonWith({}, ...args);

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; !isSo(); i++) {
    if (i > 6_000) throw new Error('it never came to this');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('train --workers', { timeout: 120_000 }, () => {
  it('leaves a checkpoint on Ctrl-C, goes on from it, and leaves what a run of one machine leaves', async () => {
    const cut = chameleon('train', '--data', 'photos', '--epochs', '6', '--image-size', '32', '--run-dir', 'run', '--workers', '2', '--json');
    await until(() => cut.facts.some((fact) => fact.type === 'step' && fact.step! >= 2));
    cut.interrupt();
    expect(await cut.ended).toBe(130);
    expect(cut.facts.find((fact) => fact.type === 'generation')!.workers!.toSorted()).toEqual(['worker-0', 'worker-1']);
    const resumed = chameleon('train', '--resume', 'run', '--workers', '2', '--json');
    expect(await resumed.ended).toBe(0);
    expect(resumed.facts.at(-1)).toMatchObject({ type: 'finish', step: 12 });
    expect(await readdir(join(folder, 'run'))).toEqual(expect.arrayContaining(['checkpoints', 'events.jsonl', 'manifest.json', 'model', 'report.html', 'run.yaml', 'validation.jsonl']));
  });
});

describe('train --workers --listen', { timeout: 120_000 }, () => {
  it('takes commands while it trains on this machine alone', async () => {
    const run = chameleon('train', '--data', 'photos', '--epochs', '5000', '--image-size', '32', '--run-dir', 'listening', '--workers', '1', '--listen', '127.0.0.1:0', '--json');
    await until(() => run.facts.some((fact) => fact.type === 'step'));
    const { address } = run.facts.find((fact) => fact.type === 'listening')!;
    const ask = (...args: string[]) => promisify(execFile)(process.execPath, [bin, 'runs', ...args, '--coordinator', address!], { cwd: folder, env });
    expect((await ask('set-rate', 'head', '0.0005')).stdout).toMatch(/^listening: training/);
    await until(() => run.facts.some((fact) => fact.type === 'change'));
    await ask('stop');
    expect(await run.ended).toBe(130);
  });
});

describe.skipIf(process.platform !== 'linux' || availableParallelism() < 2)('workers of one machine (on Linux with two processors or more)', { timeout: 120_000 }, () => {
  it('keep to cores of their own, and the run says which', async () => {
    const run = chameleon('train', '--data', 'photos', '--epochs', '5000', '--image-size', '32', '--run-dir', 'pinned', '--workers', '2', '--listen', '127.0.0.1:0', '--json');
    await until(() => run.facts.some((fact) => fact.type === 'generation' && fact.workers!.length === 2) && run.facts.some((fact) => fact.type === 'step'));
    const status = (path: string) => readFileSync(path, 'utf8');
    const children = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && existsSync(`/proc/${pid}/status`) && new RegExp(`^PPid:\\s*${run.pid}$`, 'm').test(status(`/proc/${pid}/status`)));
    const lists = children.map((pid) => [...new Set(readdirSync(`/proc/${pid}/task`).map((task) => /^Cpus_allowed_list:\s*(\S+)$/m.exec(status(`/proc/${pid}/task/${task}/status`))![1]!))]);
    expect(lists.map((list) => list.length)).toEqual([1, 1]);
    const [a, b] = lists.map(([list]) => parseCores(list!));
    expect(a!.filter((core) => b!.includes(core))).toEqual([]);
    expect([...a!, ...b!]).toHaveLength(availableParallelism());
    const { address } = run.facts.find((fact) => fact.type === 'listening')!;
    const { stdout } = await promisify(execFile)(process.execPath, [bin, 'runs', 'list', '--coordinator', address!, '--json'], { cwd: folder, env });
    const [{ workers }] = JSON.parse(stdout) as [{ workers: { cores: string }[] }];
    expect(workers.map(({ cores }) => cores).sort()).toEqual(lists.flat().sort());
    run.interrupt();
    expect(await run.ended).toBe(130);
  });

  it('are told what a share is', async () => {
    const wrong = chameleon('worker', '--coordinator', '127.0.0.1:1', '--share', '2/2');
    expect(await wrong.ended).toBe(2);
    expect(wrong.said.join('\n')).toContain('counted from 0');
  });
});

describe('a coordinator, workers and those who watch', { timeout: 120_000 }, () => {
  it('are started by hand, shown, and stopped', async () => {
    const coordinator = chameleon('coordinator', '--data', 'photos', '--epochs', '200', '--image-size', '32', '--recipe', 'feature-extractor', '--run-dir', 'by-hand', '--listen', '127.0.0.1:0', '--max-workers', '1', '--metrics-port', '0', '--json');
    await until(() => coordinator.facts.some((fact) => fact.type === 'listening'));
    const { address } = coordinator.facts.find((fact) => fact.type === 'listening')!;
    const worker = chameleon('worker', '--coordinator', address!, '--id', 'only', '--threads', '1');
    await until(() => coordinator.facts.some((fact) => fact.type === 'step'));
    const ask = async (...args: string[]) => JSON.parse((await promisify(execFile)(process.execPath, [bin, 'runs', ...args, '--coordinator', address!, '--json'], { cwd: folder, env })).stdout) as unknown;
    expect(await ask('list')).toMatchObject([{ runId: 'by-hand', state: 'training', workers: [{ workerId: 'only', rank: 0 }] }]);
    const { metrics } = coordinator.facts.find((fact) => fact.type === 'listening')!;
    expect(await (await fetch(metrics!)).text()).toMatch(/chameleon_train_samples_total\{run="by-hand",worker="only"\} [1-9]/);
    expect(await ask('checkpoint')).toMatchObject({ state: 'training' });
    expect(await ask('set-rate', 'head', '5e-4')).toMatchObject({ settings: { groups: [{ name: 'body' }, { name: 'head' }] } });
    expect(await ask('unfreeze')).toMatchObject({ settings: { unfrozen: true } });
    await expect(ask('unfreeze')).rejects.toThrow(/Everything learns already/);
    await expect(ask('set-rate', 'haed', '5e-4')).rejects.toThrow(/Did you mean head/);
    await expect(ask('set-rate', 'head', 'fast')).rejects.toThrow(/fast is no learning rate/);
    await expect(ask('set-rate', 'head', '0')).rejects.toThrow(/0 can't be a learning rate/);
    await until(() => coordinator.facts.filter((fact) => fact.type === 'change').length === 2);
    expect(await ask('stop')).toMatchObject({ runId: 'by-hand' });
    expect(await coordinator.ended).toBe(130);
    expect(await worker.ended).toBe(0);
    expect(coordinator.facts.at(-1)).toMatchObject({ type: 'finish', reason: 'interrupted' });
  });
});

describe('those who look on', { timeout: 120_000 }, () => {
  it('are shown a run and its workers, and follow its facts to its end', async () => {
    const coordinator = chameleon('coordinator', '--data', 'photos', '--epochs', '3', '--image-size', '32', '--recipe', 'feature-extractor', '--run-dir', 'watched', '--listen', '127.0.0.1:0', '--min-workers', '1', '--max-workers', '1', '--json');
    await until(() => coordinator.facts.some((fact) => fact.type === 'listening'));
    const { address } = coordinator.facts.find((fact) => fact.type === 'listening')!;
    const show = (...args: string[]) => promisify(execFile)(process.execPath, [bin, 'runs', 'show', ...args, '--coordinator', address!], { cwd: folder, env });
    expect(JSON.parse((await show('watched', '--json')).stdout)).toMatchObject([{ runId: 'watched', state: 'waiting', workers: [] }]);
    expect((await show('watched')).stdout).toMatch(/^watched: waiting, .*\nstep 0 of 6, generation 0, 0 workers lost so far/);
    await expect(show('another')).rejects.toThrow(/another/);
    const [lines, told] = [chameleon('runs', 'watch', 'watched', '--coordinator', address!, '--json'), chameleon('runs', 'watch', '--coordinator', address!)];
    await until(() => lines.facts.some((fact) => fact.type === 'run') && told.said.length > 0);
    const worker = chameleon('worker', '--coordinator', address!, '--id', 'only', '--threads', '1');
    expect(await Promise.all([coordinator, worker, lines, told].map(({ ended }) => ended))).toEqual([0, 0, 0, 0]);
    // What the coordinator wrote down from then on, in its order, with the run's states between.
    const facts = (started: Started) => started.facts.filter(({ type }) => type !== 'run' && type !== 'listening');
    const steps = facts(lines).filter(({ type }) => type === 'step');
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(facts(coordinator).slice(-facts(lines).length)).toEqual(facts(lines));
    expect(facts(lines).at(-1)).toMatchObject({ type: 'finish', reason: 'done' });
    const states = (lines.facts as { type: string; run?: { state: string } }[]).flatMap(({ run }) => run?.state ?? []);
    expect(states[0]).toBe('waiting');
    expect(states).toContain('training');
    expect(told.said.join('\n')).toMatch(/^watched: waiting, /);
    expect(told.said.filter((line) => /epoch/.test(line)).length).toBeGreaterThanOrEqual(3);
  });

  it('are told where nobody answers', async () => {
    const watch = chameleon('runs', 'watch', '--coordinator', '127.0.0.1:1');
    expect(await watch.ended).toBe(1);
    expect(watch.said.join('\n')).toContain('127.0.0.1:1');
  });
});

describe.skipIf(process.platform !== 'linux')('the join token (skipped where there is no /proc)', { timeout: 120_000 }, () => {
  it('is in no process list, no log and no file of the run', async () => {
    const token = 'a-token-that-nobody-may-see', secret = { CHAMELEON_JOIN_TOKEN: token };
    const coordinator = chameleonWith(secret, 'coordinator', '--data', 'photos', '--epochs', '200', '--image-size', '32', '--run-dir', 'secretive', '--listen', '127.0.0.1:0', '--max-workers', '1', '--json');
    await until(() => coordinator.facts.some((fact) => fact.type === 'listening'));
    const { address } = coordinator.facts.find((fact) => fact.type === 'listening')!;
    const worker = chameleonWith(secret, 'worker', '--coordinator', address!, '--id', 'only', '--threads', '1');
    const wrong = chameleonWith({ CHAMELEON_JOIN_TOKEN: `${token}-or-so` }, 'worker', '--coordinator', address!, '--id', 'other', '--threads', '1');
    expect(await wrong.ended).toBe(1);
    await until(() => coordinator.facts.some((fact) => fact.type === 'step'));
    const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const lines = await Promise.all(processes.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
    expect(lines.filter((line) => line.includes(address!))).not.toEqual([]);
    expect(lines.filter((line) => line.includes(token))).toEqual([]);
    coordinator.interrupt();
    expect(await coordinator.ended).toBe(130);
    expect(await worker.ended).toBe(0);
    expect([coordinator, worker, wrong].flatMap(({ said }) => said).filter((line) => line.includes(token))).toEqual([]);
    for (const name of await readdir(join(folder, 'secretive'), { recursive: true })) expect((await readFile(join(folder, 'secretive', name)).catch(() => Buffer.alloc(0))).includes(token), name).toBe(false);
  });
});

describe('a worker’s place', () => {
  it('is what flags say, else what launchers set', () => {
    expect(placeOf({ coordinator: 'h:1', id: 'me', node: 'here' }, {})).toEqual({ coordinator: 'h:1', id: 'me', node: 'here' });
    expect(placeOf({}, { MASTER_ADDR: '10.0.0.1', MASTER_PORT: '29500', LOCAL_RANK: '3' })).toMatchObject({ coordinator: '10.0.0.1:29500', node: expect.stringMatching(/\/3$/) as string });
    expect(placeOf({}, { CHAMELEON_COORDINATOR: 'c:1', MASTER_ADDR: 'x', MASTER_PORT: '2', SLURM_LOCALID: '1' })).toMatchObject({ coordinator: 'c:1', node: expect.stringMatching(/\/1$/) as string });
    expect(() => placeOf({}, {})).toThrow(/--coordinator/);
  });
});
