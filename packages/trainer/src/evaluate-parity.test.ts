import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Classifier, type Precision, createClassifier, loadStateDict, readWeights } from '@chameleon/core';
import { PictureLoader, openForJudging } from '@chameleon/data';
import '@chameleon/tfjs-libtorch';
import { setBackend } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluate } from './evaluation.js';

const PYTHON = '/usr/bin/python3';
const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), '../../../tools/reference/evaluate.py');
const hasTorchvision = spawnSync(PYTHON, ['-c', 'import torchvision'], { stdio: 'ignore' }).status === 0;
const testData = process.env['CHAMELEON_TEST_DATA'];
const missing = !hasTorchvision ? ' (skipped: /usr/bin/python3 has no torchvision)' : testData === undefined ? ' (skipped: CHAMELEON_TEST_DATA names no folder of photographs and weights)' : '';

const run = promisify(execFile);

interface Subject {
  weights: string;
  architecture: string;
  precision: Precision;
  size: number;
  resize: number;
  /** Judged is every so many of the pictures. */
  every: number;
  /** The margin of the two largest logits below which rounding decides: in bfloat16 two of its steps at logits of 16 to 32. */
  tie: number;
}

interface Line { path: string; label: number; predicted: number; margin: number }

async function openOwn({ weights, architecture }: Subject): Promise<{ model: Classifier; classCount: number }> {
  const tensors = readWeights(await readFile(join(testData!, 'weights', weights)), weights);
  const classCount = tensors.get('fc.bias')!.shape[0]!;
  const model = createClassifier({ architecture, classCount, head: 'linear', seed: 0, bodyIsLoaded: true });
  loadStateDict(model, tensors, { scope: 'all', name: weights });
  return { model, classCount };
}

/** PyTorch's word on each picture beside ours, over the same every so many pictures of a folder. */
async function judge(subject: Subject, folder: string): Promise<{ theirs: Line[]; ours: { path: string; predicted: number }[]; ourTop1: number }> {
  const { weights, architecture, precision, size, resize, every } = subject;
  const args = [SCRIPT, join(testData!, 'weights', weights), folder, '--arch', architecture, '--size', `${size}`, '--resize', `${resize}`, '--every', `${every}`, ...(precision === 'bfloat16' ? ['--bfloat16'] : [])];
  const { stdout } = await run(PYTHON, args, { encoding: 'utf8', maxBuffer: 1 << 26, env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  const { model, classCount } = await openOwn(subject);
  try {
    const whole = await openForJudging(folder);
    const dataset = { ...whole, valid: whole.valid.filter((_, i) => i % every === 0) };
    await using loader = new PictureLoader(dataset, { imageSize: size, shorterSide: resize });
    const { indices, probabilities, accuracy } = await evaluate(model, loader, { precision, imageSize: size });
    const ours = Array.from(indices, (index, row) => {
      const own = probabilities.subarray(row * classCount, (row + 1) * classCount);
      return { path: dataset.valid[index]!.path, predicted: own.reduce((best, p, i) => (p > own[best]! ? i : best), 0) };
    });
    return { theirs: stdout.trim().split('\n').map((line) => JSON.parse(line) as Line), ours, ourTop1: accuracy };
  } finally {
    model.dispose();
  }
}

describe.skipIf(missing !== '')(`a state dictionary's own classifier says what PyTorch says, picture by picture${missing}`, () => {
  let scratch: string;
  const summary: string[] = [];

  beforeAll(async () => {
    await setBackend('libtorch');
    scratch = await mkdtemp(join(tmpdir(), 'chameleon-evaluate-'));
    await run('tar', ['xzf', join(testData!, 'images/tiny-imagenet-32.tar.gz'), '-C', scratch, '--wildcards', '*valid/*']);
  });

  afterAll(async () => {
    await rm(scratch, { recursive: true, force: true });
    process.stdout.write(`\n${summary.join('\n')}\n`);
  });

  async function compare(subject: Subject, folder: string, count: number): Promise<void> {
    const { theirs, ours, ourTop1 } = await judge(subject, folder);
    expect(theirs).toHaveLength(count);
    expect(ours.map(({ path }) => path)).toEqual(theirs.map(({ path }) => path));
    const apart = theirs.filter(({ predicted }, i) => predicted !== ours[i]!.predicted);
    const theirTop1 = theirs.filter(({ predicted, label }) => predicted === label).length / count;
    const widest = Math.max(0, ...apart.map(({ margin }) => margin));
    summary.push(`${subject.weights}, ${subject.precision}, ${count} pictures: top-1 ${ourTop1.toFixed(3)}, PyTorch ${theirTop1.toFixed(3)}; ${apart.length} pictures apart, widest margin among them ${widest.toExponential(1)} (tolerance ${subject.tie})`);
    expect(apart.filter(({ margin }) => margin > subject.tie)).toEqual([]);
    expect(theirTop1).toBeGreaterThan(0.3);
  }

  it('resnet18-tiny on 1,000 small photographs in float32', () =>
    compare({ weights: 'resnet18-tiny.safetensors', architecture: 'resnet18', precision: 'float32', size: 64, resize: 64, every: 5, tie: 1e-4 }, join(scratch, 'tiny-imagenet-32/valid'), 1000), 300_000);

  it('resnet50-imagenet on 100 photographs in bfloat16', () =>
    compare({ weights: 'resnet50-imagenet.safetensors', architecture: 'resnet50', precision: 'bfloat16', size: 224, resize: 256, every: 10, tie: 0.25 }, join(testData!, 'images/imagenet-sample'), 100), 300_000);
});
