import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { drawDataset } from '@chameleon/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProgram } from './main.js';

const bin = fileURLToPath(new URL('../bin/chameleon.js', import.meta.url));
let folder: string;

/** Runs the built command as a person does, without a terminal. */
async function chameleon(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [bin, ...args], { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' } });
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, out: stdout, err: stderr };
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chameleon-cli-'));
  await drawDataset(join(folder, 'photos'), { count: 30, size: 64 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the command line', () => {
  it('has an example in the help of each command', () => {
    const leaves = createProgram().commands.flatMap((command) => (command.commands.length > 0 ? command.commands : [command]));
    for (const command of leaves) {
      let text = '';
      command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
      expect(text, command.name()).toMatch(/Examples?:\n\s+chameleon /);
    }
  });

  it('trains, shows, evaluates and predicts', async () => {
    const trained = await chameleon('train', '--data', 'photos', '--epochs', '2', '--image-size', '32', '--json');
    expect(trained.err).toBe('');
    const events = trained.out.trim().split('\n').map((line) => JSON.parse(line) as { type: string });
    expect(events.at(0)?.type).toBe('start');
    expect(events.at(-1)?.type).toBe('finish');
    expect((await chameleon('runs', 'list')).out).toContain('2/2');
    expect((await chameleon('runs', 'show', 'last')).out).toContain('discriminative-bn-eval, resnet16w32');
    const judged = JSON.parse((await chameleon('evaluate', '--model', 'last', '--data', 'photos', '--json')).out) as { pictures: number; top1: number };
    expect(judged.pictures).toBe(30);
    const predicted = await chameleon('predict', 'photos/normal_clothes/0000.jpg', '--json');
    expect((JSON.parse(predicted.out) as { classes: unknown[] }).classes).toHaveLength(2);
    const report = (await chameleon('report', 'last', '--to', 'report.html')).out.trim();
    expect(await readFile(join(folder, report), 'utf8')).toContain('<!doctype html>');
  });

  it('runs experiments into a table and a report', async () => {
    const { out, code } = await chameleon('experiments', '--data', 'photos', '--seeds', '2', '--epochs', '1', '--image-size', '32', '--recipes', 'feature-extractor,feature-extractor-bn-eval', '--markdown');
    expect(code).toBe(0);
    expect(out).toMatch(/\| feature-extractor-bn-eval \|/);
    expect(JSON.parse(await readFile(join(folder, 'runs/experiments/experiments.json'), 'utf8'))).toMatchObject({ rows: [{ accuracies: { length: 2 } }, { accuracies: { length: 2 } }] });
  });

  it('finds a learning rate', async () => {
    const { out } = await chameleon('lr-find', '--data', 'photos', '--steps', '8', '--image-size', '32', '--json');
    expect((JSON.parse(out) as { points: unknown[] }).points.length).toBeGreaterThan(3);
  });

  it.each([
    [['train', '--dato', 'photos'], 2, /Did you mean --data/],
    [['train'], 2, /--data DIR/],
    [['train', '--data', 'nowhere'], 1, /nowhere/],
    [['train', '--data', 'photos', '--recipe', 'discriminativ'], 2, /Did you mean discriminative/],
    [['train', '--data', 'photos', '--weights', 'resnet34'], 1, /weights pull resnet34/],
    [['train', '--data', 'photos', '--arch', 'resnet50'], 1, /does not fit|do not fit|fit resnet50/],
    [['train', '--data', 'photos', '--epochs', 'many'], 2, /not a number/],
    [['train', '--resume', 'last', '--epochs', '9'], 2, /can't be changed/],
    [['predict', 'none.jpg', '--model', 'nothing'], 2, /no run called nothing/],
    [['nonsense'], 2, /unknown command/],
  ])('%j fails with exit code %i and says why', async (args, code, pattern) => {
    const result = await chameleon(...args);
    expect(result.err).toMatch(pattern);
    expect(result.err).not.toContain('    at ');
    expect(result.code).toBe(code);
  });

  it('leaves a checkpoint on Ctrl-C and goes on from it', async () => {
    const child = execFile(process.execPath, [bin, 'train', '--data', 'photos', '--epochs', '40', '--image-size', '32', '--run-dir', 'cut', '--json'], { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' } });
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    await new Promise<void>((resolve) => child.stdout!.on('data', (text: string) => text.includes('"step":3') && resolve()));
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    const resumed = await chameleon('train', '--resume', 'cut', '--json');
    expect(resumed.code).toBe(0);
    expect(resumed.out).toContain('"type":"resume"');
  });

  it('reads settings from the environment and from a file, flags first', async () => {
    await mkdir(join(folder, 'conf'), { recursive: true });
    await writeFile(join(folder, 'conf', 'run.yaml'), 'data: photos\nepochs: 3\nimageSize: 32\nrecipe: feature-extractor\n');
    const run = async (environment: Record<string, string>, ...args: string[]) => {
      const { stdout } = await promisify(execFile)(process.execPath, [bin, 'train', '--config', 'conf/run.yaml', '--json', ...args], { cwd: folder, env: { ...process.env, NODE_OPTIONS: '', ...environment } });
      return stdout.trim().split('\n').map((line) => JSON.parse(line) as { type: string; epoch: number }).filter((event) => event.type === 'epoch').length;
    };
    expect(await run({ CHAMELEON_EPOCHS: '2' })).toBe(2);
    expect(await run({ CHAMELEON_EPOCHS: '2' }, '--epochs', '1')).toBe(1);
  });
});
