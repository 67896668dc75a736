import type { ChildProcess } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { calibrationSchema, supportsInt8 } from '@chameleon/core';
import { drawDataset, manifestSchema } from '@chameleon/data';
import '@chameleon/tfjs-libtorch';
import { ready, setBackend } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chameleon, temporaryFolder } from '../testing/chameleon.js';
import { startServe } from '../testing/served-model.js';

/** From a trained run to answers in 8 bits, as a person goes the way. */

await setBackend('libtorch');
await ready();

/** Of a probability, in 8 bits against float32, and the least part of the pictures that get the same class. */
const TOLERANCE = 0.1, SAME_CLASS = 0.9;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const children: ChildProcess[] = [];
beforeAll(async () => {
  folder = await temporaryFolder();
  await drawDataset(join(folder.path, 'photos'), { count: 400, size: 64 });
  expect(await chameleon(folder.path, ['train', '--data', 'photos', '--recipe', 'feature-extractor-bn-eval', '--epochs', '3', '--image-size', '64', '--json'])).toMatchObject({ code: 0 });
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await folder[Symbol.asyncDispose]();
});

interface Answer { predictions: { classes: { label: string; probability: number }[] }[] }

/** What `chameleon serve --dtype …` says of pictures: for each its classes by name. */
async function served(dtype: string, pictures: readonly Buffer[], args: readonly string[] = []): Promise<Map<string, number>[]> {
  const { child, url, exited } = await startServe(folder.path, ['--port', '0', '--log-level', 'warn', '--dtype', dtype, ...args]);
  children.push(child);
  const { models } = (await (await fetch(`${url}/v1/models`)).json()) as { models: { versions: { precision: string }[] }[] };
  expect(models[0]!.versions[0]!.precision).toBe(dtype);
  const answers = await Promise.all(pictures.map(async (picture) => (await (await fetch(`${url}/v1/classify`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: Uint8Array.from(picture) })).json()) as Answer));
  child.kill('SIGTERM');
  expect(await exited).toBe(0);
  return answers.map(({ predictions }) => new Map(predictions[0]!.classes.map(({ label, probability }) => [label, probability])));
}

/** The most probable class: answers come in that order. */
const bestOf = (classes: Map<string, number>): string => [...classes.keys()][0]!;

describe.skipIf(!supportsInt8())('chameleon calibrate (needs libdnnl-dev and a processor with VNNI)', () => {
  it('says what 8 bits cost, and `serve --dtype int8` then answers as it said, within a tolerance of float32', async () => {
    const early = await chameleon(folder.path, ['serve', '--port', '0', '--dtype', 'int8', '--log-level', 'silent']);
    expect(early).toMatchObject({ code: 1, err: expect.stringContaining('int8 needs a calibration. Make it with `chameleon calibrate') as unknown });

    const { code, out } = await chameleon(folder.path, ['calibrate', '--pictures', '64']);
    expect(code).toBe(0);
    const [run] = await readdir(join(folder.path, 'runs')), modelFolder = join(folder.path, 'runs', run!, 'model');
    const { accuracy, pictureCount } = calibrationSchema.parse(JSON.parse(await readFile(join(modelFolder, 'int8.json'), 'utf8')));
    const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
    expect(pictureCount).toBe(64);
    expect(out).toBe(`Looked at 64 training pictures; wrote ${join('runs', run!, 'model/int8.json')}\nOn 80 validation pictures: float32 ${percent(accuracy!.float32)}, int8 ${percent(accuracy!.int8)}, a loss of ${(100 * (accuracy!.float32 - accuracy!.int8)).toFixed(2)} points; ${percent(accuracy!.agreement)} get the same class\n`);

    const { files } = manifestSchema.parse(JSON.parse(await readFile(join(folder.path, 'runs', run!, 'manifest.json'), 'utf8')));
    const valid = files.filter(({ side }) => side === 'valid'), classes = (JSON.parse(await readFile(join(modelFolder, 'model.json'), 'utf8')) as { classes: string[] }).classes;
    const pictures = await Promise.all(valid.map(({ path }) => readFile(join(folder.path, 'photos', path))));
    const wide = await served('float32', pictures), narrow = await served('int8', pictures);
    const right = (answers: readonly Map<string, number>[]) => answers.filter((answer, i) => bestOf(answer) === classes[valid[i]!.label]).length / valid.length;
    expect([right(wide), right(narrow)]).toEqual([accuracy!.float32, accuracy!.int8]);
    const same = wide.filter((answer, i) => bestOf(answer) === bestOf(narrow[i]!)).length / valid.length;
    expect(accuracy!.float32).toBeGreaterThan(0.5);
    expect(same).toBe(accuracy!.agreement);
    expect(same).toBeGreaterThanOrEqual(SAME_CLASS);
    const largest = Math.max(...wide.flatMap((answer, i) => [...answer].map(([label, probability]) => Math.abs(probability - narrow[i]!.get(label)!))));
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThan(TOLERANCE);
  });

  it('is for libtorch: other backends refuse 8 bits and say so', async () => {
    expect(await chameleon(folder.path, ['calibrate', '--pictures', '8'])).toMatchObject({ code: 0 });
    for (const backend of ['wasm', 'onnxruntime']) {
      expect(await chameleon(folder.path, ['serve', '--port', '0', '--dtype', 'int8', '--backend', backend, '--log-level', 'silent'])).toMatchObject({ code: 1, err: expect.stringContaining('int8 is not to be had here') as unknown });
    }
    expect(await chameleon(folder.path, ['calibrate', '--backend', 'wasm'])).toMatchObject({ code: 1, err: expect.stringContaining('int8 is not to be had here') as unknown });
    expect(await chameleon(folder.path, ['calibrate', '--model', './photos'])).toMatchObject({ code: 2, err: expect.stringContaining('Pass --data') as unknown });
  });
});
