import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type HostTensor, type ModelCard, UserError, hostTensor, stateDictOf, toFloat32, writeSafetensors } from '@chameleon/core';
import { preprocess } from '@chameleon/data';
import { openClassifier } from '../models/model-folder.js';
import { makeGraphModel } from './graph-model.js';
import { exportMetadata } from './metadata.js';
import { writeOnnx } from './onnx.js';
import { type Parity, compareAnswers } from './parity.js';
import { type Runner, graphModelRunner, onnxRunner, probabilitiesOf, safetensorsRunner } from './run-exported.js';

export const EXPORT_FORMATS = ['safetensors', 'onnx', 'tfjs'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** Between probabilities: float32 summed in another order, and a BatchNorm that is folded or not. */
export const PARITY_TOLERANCE = 1e-3;
/** TensorFlow's own converter splits there too, for browsers' caches. */
const SHARD_BYTES = 4 * 2 ** 20;

export interface ExportOptions {
  /** A run or a model folder. */
  from: string;
  format: ExportFormat;
  /** The folder that is made; it must not be there yet. */
  to: string;
  /** Picture files that both networks are asked about. */
  pictures: readonly (string | Uint8Array)[];
  /** Chameleon's, for the files' producer. */
  version: string;
  tolerance?: number;
}

/** The files of an export, and what runs them. */
interface Written { files: [name: string, bytes: Uint8Array | string][]; run: Runner }

/**
 * Exports a model on the backend in use, asks both what they say of the pictures, and keeps the files only if they agree. `parity.json`
 * lies beside them.
 * @throws UserError when the answers differ, or the folder can't be written
 */
export async function exportModel({ from, format, to, pictures, version, tolerance = PARITY_TOLERANCE }: ExportOptions): Promise<{ parity: Parity; files: string[] }> {
  if (await stat(to).catch(() => null)) throw new UserError(`${to} is there already. Remove it, or choose another folder.`);
  if (pictures.length === 0) throw new UserError('Without pictures nobody could tell whether the exported network is the same.');
  const { model, card } = await openClassifier(from);
  try {
    const written = WRITERS[format](card, stateDictOf(model), version);
    const pixels = await Promise.all(pictures.map((picture) => preprocess(picture, card.imageSize, card.normalization)));
    const parity = compareAnswers(await probabilitiesOf(model, card, pixels), await written.run(pixels), card.classes.length, tolerance);
    if (!parity.equal) throw new UserError(`The exported network differs from ours, so nothing was written: on ${parity.pictures} pictures the largest difference of a probability is ${parity.largestDifference.toPrecision(3)} (${tolerance} is taken), and ${(100 * parity.top1Agreement).toFixed(1)} % have the same class. This is a mistake of ours.`);
    const files: Written['files'] = [...written.files, ['parity.json', `${JSON.stringify({ format, ...parity }, null, 2)}\n`]];
    await writeFolder(to, files);
    return { parity, files: files.map(([name]) => name) };
  } finally {
    model.dispose();
  }
}

const WRITERS: Record<ExportFormat, (card: ModelCard, tensors: ReadonlyMap<string, HostTensor>, version: string) => Written> = {
  safetensors: (card, tensors) => {
    const wide = [...tensors].map(([name, tensor]): [string, HostTensor] => [name, tensor.dtype === 'I64' ? tensor : hostTensor(toFloat32(tensor), tensor.shape)]);
    const bytes = writeSafetensors(wide, { format: 'pt', ...exportMetadata(card, 'NCHW') });
    return { files: [['model.safetensors', bytes]], run: safetensorsRunner(bytes, card) };
  },
  onnx: (card, tensors, version) => {
    const bytes = writeOnnx(card, tensors, version);
    return { files: [['model.onnx', bytes]], run: onnxRunner(bytes, card) };
  },
  tfjs: (card, tensors, version) => {
    const graph = makeGraphModel(card, tensors, version);
    const count = Math.ceil(graph.weights.length / SHARD_BYTES);
    const shards = Array.from({ length: count }, (_, i): [string, Uint8Array] => [`group1-shard${i + 1}of${count}.bin`, graph.weights.subarray(i * SHARD_BYTES, (i + 1) * SHARD_BYTES)]);
    const json = { ...graph.json, weightsManifest: [{ paths: shards.map(([name]) => name), weights: graph.specs }] };
    return { files: [['model.json', JSON.stringify(json)], ...shards], run: graphModelRunner(graph, card) };
  },
};

/** All files or none: they are written beside, and renamed at once. */
async function writeFolder(to: string, files: Written['files']): Promise<void> {
  let beside: string | undefined;
  try {
    await mkdir(dirname(to), { recursive: true });
    beside = await mkdtemp(join(dirname(to), `.${basename(to)}-`));
    for (const [name, content] of files) await writeFile(join(beside, name), content);
    await rename(beside, to);
  } catch (error) {
    if (beside !== undefined) await rm(beside, { recursive: true, force: true });
    throw new UserError(`${to} can't be written (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { cause: error });
  }
}
