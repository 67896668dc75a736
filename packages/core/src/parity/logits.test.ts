import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensor } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClassifier } from '../models/classifier.js';
import { inference } from '../tape.js';
import { useBackend } from '../testing/engine.js';
import { toFloat32 } from '../weights/host-tensor.js';
import { loadStateDict } from '../weights/state-dict.js';
import { relativeNorm } from './distance.js';
import { ErrorTable } from './error-table.js';
import { hasReference, missingReference, runReference } from './testing/reference.js';
import { openTensors, under } from './testing/subject.js';

describe.skipIf(!hasReference)(`weights that torchvision makes from a seed, in eval mode${missingReference}`, () => {
  let folder: string;
  const table = new ErrorTable();

  beforeAll(async () => {
    await useBackend('libtorch');
    folder = await mkdtemp(join(tmpdir(), 'chameleon-logits-'));
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
    process.stdout.write(`\n${table}\n\n`);
  });

  it.each(['resnet18', 'resnet34', 'resnet101', 'resnet152'])("give torchvision's logits: %s", async (architecture) => {
    const file = join(folder, `${architecture}.safetensors`);
    await runReference('logits.py', [file, '--arch', architecture]);
    const made = await openTensors(file);
    const expected = made.get('logits')!, pictures = made.get('pictures')!;
    const model = createClassifier({ architecture, classCount: expected.shape[1]!, head: 'linear', seed: 0, bodyIsLoaded: true });
    loadStateDict(model, under(made, 'weights/'), { scope: 'all', name: architecture });
    const x = tensor(toFloat32(pictures).slice(), pictures.shape);
    const logits = model.forward(x, inference('float32'));
    const error = relativeNorm(logits.dataSync(), toFloat32(expected));
    expect(table.note('logits', error, architecture), `${architecture}: ${error}`).toBe(true);
    for (const owner of [x, logits, model]) owner.dispose();
    await rm(file);
  }, 200_000);
});
