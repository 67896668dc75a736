import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useFusion } from '@chameleon/tfjs-libtorch';
import { memory } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Classifier } from '../models/classifier.js';
import { hasKernel } from '../ops/kernels.js';
import { Adam } from '../optimizers/adam.js';
import { useBackend } from '../testing/engine.js';
import { toFloat32 } from '../weights/host-tensor.js';
import { writeSafetensors } from '../weights/safetensors.js';
import { stateDictOf, toHost } from '../weights/state-dict.js';
import { relativeNorm } from './distance.js';
import { ErrorTable } from './error-table.js';
import { hasReference, missingData, missingReference, runReference, testData } from './testing/reference.js';
import { Batches, MODES, type Mode, BATCH, STEPS, type Tensors, dropoutMasks, groupsOf, openSubject, openTensors, pass, under, watchStages, widened } from './testing/subject.js';
import type { ParityRow } from './tolerances.js';

/** Weights, and the side of the pictures in px. */
interface Subject { name: string; architecture: string; weights: string; size: number; needsData: boolean }

const SUBJECTS: readonly Subject[] = [
  { name: 'resnet18-tiny', architecture: 'resnet18', weights: `${testData}/weights/resnet18-tiny.safetensors`, size: 64, needsData: true },
  { name: 'resnet34 from a seed', architecture: 'resnet34', weights: 'seed:34', size: 64, needsData: false },
  { name: 'resnet50-imagenet', architecture: 'resnet50', weights: `${testData}/weights/resnet50-imagenet.safetensors`, size: 96, needsData: true },
];

/** Without fusion the network that needs no data, in the long test all. */
const cases = (name: string): (readonly [Mode, 'on' | 'off'])[] =>
  (['on', ...(name.endsWith('from a seed') || process.env.CHAMELEON_TEST_FULL === '1' ? ['off' as const] : [])] as const).flatMap((fusion) => (Object.keys(MODES) as Mode[]).map((mode) => [mode, fusion] as const));

interface Facts { losses: number[]; bfloat16Loss: number; learning: string[] }

const table = new ErrorTable();
const close = (row: ParityRow, error: number, where: string) => expect.soft(table.note(row, error, where), `${row} of ${where}: ${error}`).toBe(true);

afterAll(() => {
  process.stdout.write(`\n${table}\n\n`);
});

describe.each(SUBJECTS)(`$name against PyTorch${missingReference}`, ({ name, architecture, weights, size, needsData }) => {
  const isAbsent = !hasReference || (needsData && testData === null);

  describe.skipIf(isAbsent)(`on ${testData === null ? 'drawn pictures' : 'photographs'}${needsData ? missingData : ''}`, () => {
    let folder: string, body: Tensors, batches: Batches;

    beforeAll(async () => {
      await useBackend('libtorch');
      folder = await mkdtemp(join(tmpdir(), 'chameleon-parity-'));
      const masks = join(folder, 'masks.safetensors');
      await writeFile(masks, writeSafetensors([['masks', dropoutMasks(512)]]));
      const pictures = testData === null ? [] : ['--pictures', `${testData}/images/hymenoptera/train`];
      await runReference('traces.py', [folder, '--weights', weights, '--arch', architecture, '--size', `${size}`, '--batch', `${BATCH}`, '--steps', `${STEPS}`, '--masks', masks, ...pictures]);
      const made = await openTensors(folder, 'batches.safetensors');
      batches = new Batches(made);
      body = widened(weights.startsWith('seed:') ? under(made, 'weights/') : await openTensors(weights));
    }, 300_000);

    afterAll(() => {
      useFusion(true);
      return rm(folder, { recursive: true, force: true });
    });

    it.each(cases(name))('computes the same step, and goes the same way for 20 steps: %s, fusion %s', async (mode, fusion) => {
      useFusion(fusion === 'on');
      const trace = await openTensors(folder, `${mode}.safetensors`);
      const facts = JSON.parse(await readFile(join(folder, `${mode}.json`), 'utf8')) as Facts;
      const start = under(trace, 'start/');
      const compare = (row: ParityRow, got: ArrayLike<number>, key: string) => close(row, relativeNorm(got, toFloat32(trace.get(key)!)), `${name}, ${mode}, ${key}`);

      const rounded = openSubject(architecture, mode, body, start).model;
      const roundedStep = pass(rounded, batches, 0, 'bfloat16');
      compare('roundedLogits', roundedStep.logits, 'bfloat16/logits');
      close('roundedLoss', Math.abs(roundedStep.loss - facts.bfloat16Loss), `${name}, ${mode}`);
      rounded.dispose();

      const { model, phase } = openSubject(architecture, mode, body, start);
      expect(model.parameters().filter((parameter) => parameter.trainable).map((parameter) => parameter.name).sort()).toEqual([...facts.learning].sort());
      const before = stateDictOf(model);
      const { seen, stop } = watchStages(model), optimizer = new Adam();
      const losses = Array.from({ length: STEPS }, (_, step) => {
        const { loss } = pass(model, batches, step, 'float32');
        if (step === 0) {
          stop();
          for (const [stage, values] of seen) compare(stage === 'logits' ? 'logits' : 'activations', values, `activation/${stage}`);
          expect(compareFirstStep(model, trace, `${name}, ${mode}`).sort()).toEqual([...facts.learning].sort());
        }
        optimizer.step(groupsOf(model, phase));
        for (const parameter of model.parameters()) parameter.clearGradient();
        return loss;
      });
      // BatchNorm's own output is nowhere when ReLU is part of it, nor a convolution's of which BatchNorm is a part.
      expect(seen.size).toBe(fusion === 'off' || !hasKernel('BatchNormActivation') ? 8 : mode === 'eval' && hasKernel('PackedConv2D') ? 6 : 7);
      close('loss', Math.abs(losses[0]! - facts.losses[0]!), `${name}, ${mode}`);
      losses.forEach((loss, step) => close('losses', Math.abs(loss - facts.losses[step]!), `${name}, ${mode}, step ${step}`));
      compareEnd(stateDictOf(model), before, trace, new Set(facts.learning), `${name}, ${mode}`);
      model.dispose();
      optimizer.dispose();
      expect(memory().numTensors).toBe(0);
    });
  });
});

/** A bias before BatchNorm: what it adds is taken away again, so that nothing can be learnt of it. */
const isSilent = (name: string) => name === 'fc.0.bias';
const lengthOf = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

/** Gradients and running statistics of the first step. @returns the parameters that have a gradient */
function compareFirstStep(model: Classifier, trace: Tensors, where: string): string[] {
  const compare = (row: ParityRow, got: ArrayLike<number>, key: string) => close(row, relativeNorm(got, toFloat32(trace.get(key)!)), `${where}, ${key}`);
  for (const buffer of model.buffers()) compare('statistics', buffer.value.dataSync(), `statistics/${buffer.name}`);
  return model.parameters().filter((parameter) => parameter.gradient !== null).map(({ name, layout, gradient }) => {
    const values = toFloat32(toHost(gradient!, layout)), key = `gradient/${name}`;
    if (!isSilent(name)) compare('gradients', values, key);
    else for (const one of [values, toFloat32(trace.get(key)!)]) close('silentGradients', lengthOf(one) / lengthOf(toFloat32(trace.get(key.replace(/bias$/, 'weight'))!)), `${where}, ${key}`);
    return name;
  });
}

/** A first gradient below it is rounding: Adam walks such a weight at random, in PyTorch too, which is then 0.85 from itself. */
const ROUNDING = 1e-6;

/** What learns and the statistics against the reference's, and that the rest kept its bits. */
function compareEnd(end: Tensors, before: Tensors, trace: Tensors, learning: ReadonlySet<string>, where: string): void {
  let compared = 0, learnt = 0;
  for (const [name, value] of end) {
    if (name.endsWith('num_batches_tracked')) continue;
    const after = toFloat32(value), expected = trace.get(`after/${name}`);
    if (name.includes('running_')) {
      close('laterStatistics', relativeNorm(after, toFloat32(expected!)), `${where}, ${name}`);
      continue;
    }
    const first = toFloat32(before.get(name)!);
    expect(expected !== undefined, name).toBe(learning.has(name));
    if (expected === undefined) expect(Buffer.compare(value.bytes, before.get(name)!.bytes), `${where}: ${name} is frozen`).toBe(0);
    else {
      const gradient = toFloat32(trace.get(`gradient/${name}`)!);
      const change = (values: Float32Array) => values.map((x, i) => (Math.abs(gradient[i]!) > ROUNDING ? x - first[i]! : 0));
      compared += gradient.filter((value) => Math.abs(value) > ROUNDING).length;
      learnt += gradient.length;
      close('changes', relativeNorm(change(after), change(toFloat32(expected))), `${where}, ${name}`);
    }
  }
  expect(compared / learnt, `${where}: the share of weights that have a gradient`).toBeGreaterThan(0.5);
}
