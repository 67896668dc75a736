import { execFileSync, spawnSync } from 'node:child_process';
import { cp, mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { drawDataset } from '@chameleon/data';
import { newestCheckpoint, readEvents } from '@chameleon/trainer';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { chameleon, chameleonHere, temporaryFolder } from './testing/chameleon.js';

/** For those that start a process or more, which a busy machine takes its time for. */
vi.setConfig({ testTimeout: 180_000 });

const SMALL = ['--image-size', '32', '--recipe', 'feature-extractor-bn-eval'];

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const at = (...steps: string[]) => join(folder.path, ...steps);
const run = (...args: string[]) => chameleon(folder.path, args);

beforeAll(async () => {
  folder = await temporaryFolder();
  await drawDataset(at('photos'), { count: 24, size: 48 });
  await makeBadFolders();
  await makeBadFiles();
  expect((await run('train', '--data', 'photos', '--epochs', '1', ...SMALL, '--run-dir', 'runs/20260101-000000-whole-0000')).code).toBe(0);
  await changeModel();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** A message for a person: no trace of where in the program it came from, and no word of a fault of ours. */
function expectPlain({ code, err }: { code: number; err: string }, expectedCode: number, pattern: RegExp): void {
  expect(err).toMatch(pattern);
  expect(err).not.toMatch(/\n {4}at |fault of Chameleon's/);
  expect(code).toBe(expectedCode);
}

describe('what can’t work is refused with a reason', () => {
  it.each<[string, string[], number, RegExp]>([
    ['an unknown flag', ['train', '--dato', 'photos'], 2, /unknown option '--dato'\s+\(Did you mean --data\?\)/],
    ['an unknown command', ['trian'], 2, /unknown command 'trian'\s+\(Did you mean train\?\)/],
    ['an unknown command of a command', ['weights', 'lsit'], 2, /unknown command 'lsit'\s+\(Did you mean list\?\)/],
    ['a missing argument', ['predict'], 2, /missing required argument/],
    ['a flag without its value', ['train', '--data'], 2, /argument missing/],
    ['an unknown choice', ['train', '--data', 'photos', '--optimizer', 'adma'], 2, /Allowed choices are adam, adamw, sgd/],
    ['words for numbers', ['train', '--data', 'photos', '--epochs', 'many'], 2, /not a number/],
    ['numbers out of range', ['train', '--data', 'photos', '--epochs', '0', '--image-size', '8'], 2, /The configuration is wrong\. .*epochs: .*; .*imageSize: |The configuration is wrong\. .*imageSize: .*; .*epochs: /],
    ['no data', ['train'], 2, /--data DIR/],
    ['an unknown recipe', ['train', '--data', 'photos', '--recipe', 'discriminativ'], 2, /Did you mean discriminative/],
    ['a recipe that is no YAML', ['train', '--data', 'photos', '--recipe', 'broken.yaml'], 2, /The recipe broken\.yaml is not YAML: /],
    ['a recipe with a wrong word', ['train', '--data', 'photos', '--recipe', 'wrong.yaml'], 2, /The recipe wrong\.yaml is wrong\. .*batchNorm/],
    ['a configuration that is no YAML', ['train', '--data', 'photos', '--config', 'broken.yaml'], 2, /The configuration broken\.yaml is not YAML: /],
    ['a configuration that is a list', ['train', '--data', 'photos', '--config', 'list.yaml'], 2, /list\.yaml is not a list of settings/],
    ['a configuration with an unknown key', ['train', '--data', 'photos', '--config', 'key.yaml'], 2, /epoch/],
    ['a change to a run that goes on', ['train', '--resume', 'last', '--epochs', '9'], 2, /epochs can't be changed/],
    ['an unknown run', ['predict', 'none.jpg', '--model', 'nothing'], 2, /no run called nothing/],
    ['a run where there is none', ['runs', 'show', 'last', '--out', 'nowhere'], 1, /no runs in nowhere/],

    ['a missing folder', ['train', '--data', 'nowhere'], 1, /There is no folder nowhere\. Give the folder/],
    ['a file for a folder', ['train', '--data', 'list.yaml'], 1, /list\.yaml is a file, not a folder/],
    ['a folder without classes', ['train', '--data', 'none'], 1, /none has no class folders/],
    ['a folder with one class', ['train', '--data', 'one'], 1, /one has one class only \(cat\)\. A classifier needs two/],
    ['an empty class', ['train', '--data', 'empty'], 1, /empty\/dog has no picture/],
    ['a truncated picture', ['train', '--data', 'bad-cut'], 1, /normal_clothes\/0001\.jpg is damaged or cut short .*Remove it, or pass --skip-bad-images/],
    ['a picture of no bytes', ['train', '--data', 'bad-zero'], 1, /normal_clothes\/0001\.jpg is empty \(0 bytes\)\. Remove it/],
    ['a text called .jpg', ['train', '--data', 'bad-text'], 1, /normal_clothes\/0001\.jpg is not an image we read \(found: text\)\. Remove it/],
    ['a bomb of 30,000 x 30,000 pixels', ['train', '--data', 'bad-bomb'], 1, /normal_clothes\/0001\.jpg is over the limit of 100,000,000 pixels\. Remove it/],

    ['weights by an unknown name', ['train', '--data', 'photos', '--weights', 'resnet43'], 2, /no weights called resnet43.*Did you mean resnet/],
    ['weights that are not here yet', ['train', '--data', 'photos', '--weights', 'resnet34'], 1, /chameleon weights pull resnet34/],
    ['weights of another architecture', ['train', '--data', 'photos', '--arch', 'resnet50'], 1, /embedded does not fit resnet50 with 2 classes\. Keys \d+ missing: layer1\.0\.conv3\.weight, .*; \d+ of another shape: conv1\.weight is \[32, 3, 7, 7\] instead of \[64, 3, 7, 7\]/],
    ['safetensors with a corrupt header', ['train', '--data', 'photos', '--weights', 'header.safetensors'], 1, /header\.safetensors is not a whole safetensors file: its header is not JSON/],
    ['safetensors cut short', ['train', '--data', 'photos', '--weights', 'cut.safetensors'], 1, /cut\.safetensors is not a whole safetensors file/],
    ['a pickle that calls something', ['train', '--data', 'photos', '--weights', 'evil.pth'], 1, /evil\.pth tries to call posix\.system, which weights have no need of\. Nothing of it was run/],
    ['a web page for weights', ['train', '--data', 'photos', '--weights', 'page.pth'], 1, /page\.pth is no weight file: it looks like a web page/],

    ['commands for a run without workers', ['train', '--data', 'photos', '--listen', '127.0.0.1:0'], 2, /add --workers 1, or leave out --listen/],
    ['a run directory that exists', ['train', '--data', 'photos', ...SMALL, '--run-dir', 'runs/20260101-000000-whole-0000'], 1, /exists already\. Go on with it by --resume, or choose another with --run-dir/],
    ['a file where runs should go', ['train', '--data', 'photos', ...SMALL, '--out', 'list.yaml'], 1, /list\.yaml can't be used: a file stands where a folder is needed/],
    ['a model whose bytes were changed', ['predict', 'photos/normal_clothes/0000.jpg', '--model', './changed'], 1, /is not the file that model\.json was written for: its digest differs/],
    ['a model of other classes than the folder’s', ['evaluate', '--model', 'last', '--data', 'three'], 1, /tells 2 classes apart, three has 3/],
    ['an archive that is none', ['dataset', 'prepare', 'camouflage', 'page.pth', 'out'], 1, /page\.pth is not a whole tar archive/],
    ['an archive of an unknown kind', ['dataset', 'prepare', 'camouflag', 'page.pth', 'out'], 2, /Did you mean camouflage/],
  ])('%s', async (_, args, code, pattern) => {
    expectPlain(await chameleonHere(folder.path, args), code, pattern);
  });
});

describe('what can be gone on without', () => {
  it('pictures that can’t be used are left out, each listed with its reason, in the report too', async () => {
    const result = await run('train', '--data', 'bad-all', '--epochs', '1', ...SMALL, '--skip-bad-images', '--run-dir', 'runs/skipped');
    expect(result.code).toBe(0);
    const reasons = { '0000.jpg': /damaged or cut short/, '0001.jpg': /is empty/, '0002.jpg': /not an image we read \(found: text\)/, '0003.jpg': /over the limit/ };
    const report = await readFile(at('runs', 'skipped', 'report.html'), 'utf8');
    for (const [name, reason] of Object.entries(reasons)) {
      expect(result.err).toMatch(new RegExp(`left out normal_clothes/${name}: .*${reason.source}`));
      expect(report).toContain(name);
    }
    expect(result.err.match(/left out/g)).toHaveLength(4);
    expect(result.err).toContain('17 pictures to train with, 3 to judge by');
  });

  it('a check lists them and ends with 1', async () => {
    const { code, out } = await run('dataset', 'check', 'bad-all');
    expect([code, out.match(/^bad /gm)?.length]).toEqual([1, 4]);
    expect(out).toContain('4 bad files, 0 leaks.');
  });

  it('a bad picture among those to classify is named, and the others are classified', async () => {
    const result = await run('predict', 'bad-all/normal_clothes/0002.jpg', 'photos/normal_clothes/0000.jpg', '--model', '20260101');
    expectPlain(result, 1, /0002\.jpg is not an image we read.*\n.*1 of 2 pictures could not be classified/);
    expect(result.out).toMatch(/^photos\/normal_clothes\/0000\.jpg {2}\w+_clothes \d/);
  });
});

describe('nothing is lost', () => {
  it('by what was refused: no marker of the evil pickle, the run and the file that stood in the way are as they were', async () => {
    expect(await stat(at('marker')).catch(() => null)).toBeNull();
    expect(await readFile(at('list.yaml'), 'utf8')).toBe('- 1\n');
    const whole = at('runs', '20260101-000000-whole-0000');
    expect((await readEvents(whole)).at(-1)).toMatchObject({ type: 'finish', reason: 'done' });
    expect(await newestCheckpoint(whole)).toMatchObject({ torn: [] });
    expect((await readdir(at('runs'))).filter((name) => !name.startsWith('20260101') && name !== 'skipped')).toEqual([]);
    expect(await readdir(folder.path)).not.toContain('out');
  });

  it('by Ctrl-C in the middle of an epoch: a checkpoint is left, and every step is taken once', async () => {
    const interrupted = await chameleon(folder.path, ['train', '--data', 'photos', '--epochs', '8', '--batch-size', '4', ...SMALL, '--run-dir', 'cut', '--json'], {
      onStart: (child) => child.stdout!.on('data', (text: string) => void (text.includes('"step":7') && child.kill('SIGINT'))),
    });
    expect(interrupted.code).toBe(130);
    const stopped = (await newestCheckpoint(at('cut')))!.step;
    expect(stopped).toBeGreaterThanOrEqual(7);
    expect(stopped).toBeLessThan(40);
    const resumed = await run('train', '--resume', 'cut');
    expect(resumed.code).toBe(0);
    expect(resumed.err).toContain(`going on after step ${stopped}`);
    expect((await readEvents(at('cut'))).flatMap((event) => (event.type === 'step' ? [event.step] : []))).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  });
});

describe('experiments that are interrupted', () => {
  it('keep what the runs gave that were done', async () => {
    const { code, out } = await chameleon(folder.path, ['experiments', '--data', 'photos', '--seeds', '9', '--epochs', '2', '--image-size', '32', '--recipes', 'feature-extractor-bn-eval', '--json', '--out', 'table'], {
      onStart: (child) => child.stdout!.on('data', (text: string) => void (text.includes('"type":"run"') && child.kill('SIGINT'))),
    });
    expect(code).toBe(130);
    const runs = out.split('\n').filter((line) => line.includes('"type":"run"')).map((line) => (JSON.parse(line) as { accuracy: number }).accuracy);
    expect(runs.length).toBeLessThan(9);
    const { rows } = JSON.parse(await readFile(at('table', 'experiments.json'), 'utf8')) as { rows: { accuracies: number[] }[] };
    expect(rows.map(({ accuracies }) => accuracies)).toEqual([runs]);
  });
});

const canMount = process.platform === 'linux' && process.getuid?.() === 0 && tryMount();

function tryMount(): boolean {
  const point = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', point]).status === 0;
  if (mounted) spawnSync('umount', [point]);
  spawnSync('rmdir', [point]);
  return mounted;
}

describe.skipIf(!canMount)('a full disk (skipped where a small file system can’t be mounted: it takes root on Linux)', () => {
  beforeAll(async () => {
    await mkdir(at('small'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=10m', 'tmpfs', at('small')]);
  });
  afterAll(() => void execFileSync('umount', [at('small')]));

  it('ends the run with what to do, and the older checkpoint resumes once there is room', async () => {
    const result = await run('train', '--data', 'photos', '--epochs', '2', '--keep-checkpoints', '9', ...SMALL, '--run-dir', 'small/run');
    expectPlain(result, 1, /The disk is full: small\/run\/checkpoints\/\S+ could not be written\. What was there before is whole\. Free some space, then go on with --resume\./);
    const left = (await newestCheckpoint(at('small', 'run')))!;
    expect(left).toMatchObject({ torn: [] });
    expect(left.step).toBeGreaterThan(0);
    expect((await readdir(at('small', 'run', 'checkpoints'))).filter((name) => name.endsWith('.partial'))).toEqual([]);
    execFileSync('mount', ['-o', 'remount,size=100m', at('small')]);
    const resumed = await run('train', '--resume', 'small/run');
    expect(resumed.err).toContain(`going on after step ${left.step}`);
    expect(resumed.code).toBe(0);
    expect((await readEvents(at('small', 'run'))).filter((event) => event.type === 'epoch')).toHaveLength(2);
  });

  it('that has no room at all is told, and nothing half-made is left on it', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40k', 'tmpfs', at('small')]);
    try {
      // There is room for a part of the new report: the old one must not give way to it.
      await writeFile(at('small', 'report.html'), 'old');
      expectPlain(await chameleonHere(folder.path, ['report', '20260101', '--to', 'small/report.html']), 1, /The disk is full: small\/report\.html could not be written/);
      expect(await readFile(at('small', 'report.html'), 'utf8')).toBe('old');
      await writeFile(at('small', 'filler'), new Uint8Array(40_960)).catch(() => undefined);
      expectPlain(await run('train', '--data', 'photos', ...SMALL, '--run-dir', 'small/other'), 1, /The disk is full/);
      expect(await readdir(at('small'))).not.toContain('other');
      execFileSync('tar', ['cf', at('photos.tar'), '-C', at('photos'), '.']);
      for (const args of [['dataset', 'synth', 'small/drawn', '--count', '4'], ['dataset', 'prepare', 'folders', 'photos.tar', 'small/out']]) expectPlain(await chameleonHere(folder.path, args), 1, /The disk is full/);
      expect((await readdir(at('small'))).sort()).toEqual(['filler', 'report.html']);
    } finally {
      execFileSync('umount', [at('small')]);
    }
  });
});

async function makeBadFolders(): Promise<void> {
  const bad = await badPictures();
  await mkdir(at('none'));
  await cp(at('photos', 'normal_clothes'), at('one', 'cat'), { recursive: true });
  await cp(at('photos', 'normal_clothes'), at('empty', 'cat'), { recursive: true });
  await mkdir(at('empty', 'dog'));
  await cp(at('photos'), at('three'), { recursive: true });
  await cp(at('photos', 'normal_clothes'), at('three', 'third'), { recursive: true });
  for (const [kind, bytes] of Object.entries(bad)) {
    await cp(at('photos'), at(`bad-${kind}`), { recursive: true });
    await writeFile(at(`bad-${kind}`, 'normal_clothes', '0001.jpg'), bytes);
  }
  await cp(at('photos'), at('bad-all'), { recursive: true });
  for (const [i, bytes] of Object.values(bad).entries()) await writeFile(at('bad-all', 'normal_clothes', `000${i}.jpg`), bytes);
}

async function badPictures(): Promise<Record<'cut' | 'zero' | 'text' | 'bomb', Uint8Array>> {
  const whole = await readFile(at('photos', 'normal_clothes', '0000.jpg'));
  const bomb = Buffer.from(whole);
  // The frame header: marker, length, bits, height, width.
  const frame = bomb.findIndex((byte, i) => byte === 0xff && (bomb[i + 1] === 0xc0 || bomb[i + 1] === 0xc2));
  bomb.writeUInt16BE(30_000, frame + 5);
  bomb.writeUInt16BE(30_000, frame + 7);
  return { cut: whole.subarray(0, whole.length >> 1), zero: new Uint8Array(0), text: Buffer.from('these are notes'), bomb };
}

async function makeBadFiles(): Promise<void> {
  await writeFile(at('broken.yaml'), 'a: [\n');
  await writeFile(at('list.yaml'), '- 1\n');
  await writeFile(at('key.yaml'), 'epoch: 3\n');
  await writeFile(at('wrong.yaml'), 'name: mine\nhead: linear\nphases:\n  - epochs: 1\n    train: head\n    batchNorm: off\n');
  await writeFile(at('page.pth'), '<!doctype html><title>404</title>');
  await writeFile(at('header.safetensors'), Buffer.concat([Buffer.from(BigUint64Array.of(5n).buffer), Buffer.from('{"a":')]));
  await writeFile(at('cut.safetensors'), Buffer.concat([Buffer.from(BigUint64Array.of(4000n).buffer), Buffer.from('{"a":')]));
  const command = `touch ${at('marker')}`;
  // What pickle.dumps makes of an object whose __reduce__ gives (os.system, (command,)).
  await writeFile(at('evil.pth'), Buffer.concat([Buffer.from([0x80, 2]), Buffer.from('cposix\nsystem\nX'), Buffer.from(Uint32Array.of(command.length).buffer), Buffer.from(command), Buffer.from([0x85, 0x52, 0x2e])]));
}

/** The trained model with one bit of its weights turned. */
async function changeModel(): Promise<void> {
  await cp(at('runs', '20260101-000000-whole-0000', 'model'), at('changed'), { recursive: true });
  const bytes = await readFile(at('changed', 'model.safetensors'));
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(at('changed', 'model.safetensors'), bytes);
}
