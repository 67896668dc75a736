import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Tensor, tensor } from '@tensorflow/tfjs-core';
import { crossEntropy } from '../../loss.js';
import { type Classifier, STAGE_NAMES, createClassifier } from '../../models/classifier.js';
import { Dropout } from '../../modules/dropout.js';
import type { Module } from '../../modules/module.js';
import type { Precision } from '../../ops/kernels.js';
import type { ParameterGroup } from '../../optimizers/optimizer.js';
import { type Phase, applyPhase, findRecipe, rateFactor } from '../../recipes.js';
import { Tape } from '../../tape.js';
import { type HostTensor, hostTensor, toFloat32 } from '../../weights/host-tensor.js';
import { readSafetensors } from '../../weights/safetensors.js';
import { loadStateDict } from '../../weights/state-dict.js';

/** The freezing modes that the reference traces, and the phase of a recipe that each stands for. */
export const MODES = {
  'batch-stats': ['feature-extractor', 0],
  eval: ['feature-extractor-bn-eval', 0],
  'batch-norm-only': ['batch-norm-only', 0],
  unfrozen: ['discriminative', 1],
  'unfrozen-bn-eval': ['discriminative-bn-eval', 1],
  'deep-head': ['deep-head', 1],
} as const satisfies Record<string, readonly [recipe: string, phase: number]>;
export type Mode = keyof typeof MODES;

export const RATE = 1e-3;
export const STEPS = 20;
export const BATCH = 4;
const CLASS_COUNT = 2;

export type Tensors = ReadonlyMap<string, HostTensor>;

export async function openTensors(...path: string[]): Promise<Tensors> {
  return readSafetensors(await readFile(join(...path)), path.at(-1)).tensors;
}

/** The same tensors, widened once: they are loaded many times. */
export const widened = (tensors: Tensors): Tensors => new Map([...tensors].map(([name, value]) => [name, hostTensor(toFloat32(value), value.shape)]));

/** Those whose names begin with `prefix`, without it. */
export const under = (tensors: Tensors, prefix: string): Map<string, HostTensor> =>
  new Map([...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, value]) => [name.slice(prefix.length), value]));

/** A classifier with a pretrained body and the reference's first head, in the mode's phase. */
export function openSubject(architecture: string, mode: Mode, body: Tensors, head: Tensors): { model: Classifier; phase: Phase } {
  const [recipe, index] = MODES[mode];
  const model = createClassifier({ architecture, classCount: CLASS_COUNT, head: findRecipe(recipe).head, seed: 0, bodyIsLoaded: true });
  const state = new Map([...[...body].filter(([name]) => !name.startsWith('fc.')), ...head]);
  loadStateDict(model, state, { scope: 'all', name: architecture });
  const phase = findRecipe(recipe).phases[index]!;
  applyPhase(model, phase);
  return { model, phase };
}

export const groupsOf = (model: Classifier, phase: Phase): ParameterGroup[] =>
  STAGE_NAMES.map((stage) => ({ name: stage, learningRate: RATE * rateFactor(phase, stage), parameters: model.stages.get(stage)!.parameters() }));

/** Batches of normalised pictures, and their labels. */
export class Batches {
  readonly #pictures: HostTensor;
  readonly #labels: Float32Array;

  constructor(tensors: Tensors) {
    this.#pictures = tensors.get('pictures')!;
    this.#labels = toFloat32(tensors.get('labels')!);
  }

  /** The pictures [batch, size, size, 3] of a step, which the caller owns; steps take the batches in turn. */
  at(step: number): { pictures: Tensor; labels: Int32Array } {
    const [count, ...shape] = this.#pictures.shape as [number, number, number, number, number];
    const index = step % count, each = shape.reduce((product, size) => product * size, 1);
    return {
      pictures: tensor(toFloat32(this.#pictures).slice(index * each, (index + 1) * each), shape),
      labels: Int32Array.from(this.#labels.subarray(index * shape[0], (index + 1) * shape[0])),
    };
  }
}

const rowKeys = (step: number): number[][] => Array.from({ length: BATCH }, (_, row) => [step, row]);

/** Forward and backward; gradients stay on the parameters. */
export function pass(model: Classifier, batches: Batches, step: number, precision: Precision): { loss: number; logits: Float32Array } {
  const { pictures, labels } = batches.at(step);
  const tape = new Tape();
  const logits = model.forward(pictures, { tape, training: true, precision, rowKeys: rowKeys(step) });
  const { lossSum, gradient } = crossEntropy(logits, labels);
  tape.walk(gradient)?.dispose();
  const values = logits.dataSync<'float32'>();
  pictures.dispose();
  logits.dispose();
  return { loss: lossSum / labels.length, logits: values };
}

/** Which values dropout keeps in each step, [steps, batch, features], as the module itself decides it. */
export function dropoutMasks(features: number): HostTensor {
  const dropout = new Dropout('fc.3', 0.5);
  const bytes = new Uint8Array(STEPS * BATCH * features);
  const ones = tensor(new Float32Array(BATCH * features).fill(1), [BATCH, features]);
  for (let step = 0; step < STEPS; step++) {
    const y = dropout.forward(ones, { tape: null, training: true, precision: 'float32', rowKeys: rowKeys(step) });
    y.dataSync().forEach((value, i) => (bytes[step * BATCH * features + i] = value === 0 ? 0 : 1));
    y.dispose();
  }
  ones.dispose();
  return { dtype: 'U8', shape: [STEPS, BATCH, features], bytes };
}

/**
 * Keeps what each stage gives in the passes that follow, in PyTorch's layout, until `stop`. conv1 and bn1 stand in the
 * body by themselves, with ReLU and pooling after them; the other stages are modules of the body.
 */
export function watchStages(model: Classifier): { seen: Map<string, Float32Array>; stop: () => void } {
  const seen = new Map<string, Float32Array>();
  const watched = STAGE_NAMES.map((name): [string, Module] => {
    const stage = model.stages.get(name)!;
    return [name, name === 'conv1' || name === 'bn1' ? stage.leaves[0]! : stage];
  });
  for (const [name, module] of watched) {
    const forward = module.forward.bind(module);
    module.forward = (x, given) => {
      if (name === 'fc') seen.set('pooled', x.dataSync<'float32'>().slice());
      const y = forward(x, given);
      seen.set(name === 'fc' ? 'logits' : name, channelsFirst(y));
      return y;
    };
    module.consume = undefined;
  }
  return { seen, stop: () => watched.forEach(([, module]) => ['forward', 'consume'].forEach((name) => Reflect.deleteProperty(module, name))) };
}

/** [batch, height, width, channels] → [batch, channels, height, width]; rows of features stay as they are. */
function channelsFirst(y: Tensor): Float32Array {
  const values = y.dataSync<'float32'>();
  if (y.shape.length !== 4) return values.slice();
  const [batch, height, width, channels] = y.shape as [number, number, number, number];
  const moved = new Float32Array(values.length), positions = height * width;
  for (let b = 0; b < batch; b++)
    for (let p = 0; p < positions; p++)
      for (let c = 0; c < channels; c++) moved[(b * channels + c) * positions + p] = values[(b * positions + p) * channels + c]!;
  return moved;
}
