import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readSafetensors, toFloat32 } from '@chameleon/core';
import { preprocess } from '@chameleon/data';
import { describe, expect, test } from 'vitest';
import { openClassifier } from '../models/model-folder.js';
import { temporaryFolder, useLibtorch, writeRandomModel, writeRealModel } from '../testing/models.js';
import { drawPicture } from '../testing/pictures.js';
import { hasTorchvision, torchvision } from '../testing/torch.js';
import { EXPORT_FORMATS, exportModel } from './export-model.js';
import { probabilitiesOf } from './run-exported.js';

async function drawnPictures(folder: string, count = 5): Promise<string[]> {
  return Promise.all(Array.from({ length: count }, async (_, seed) => {
    const path = join(folder, `${seed}.jpg`);
    await writeFile(path, await drawPicture(seed, { width: 130, height: 100 }));
    return path;
  }));
}

describe('an export', () => {
  test.each([...EXPORT_FORMATS.flatMap((format) => [['resnet16w32', 'linear', format], ['resnet16w32', 'deep', format]] as const), ['resnet50', 'linear', 'onnx'], ['resnet50', 'linear', 'tfjs']] as const)('of a %s with a %s head to %s answers as ours does', async (architecture, head, format) => {
    await using folder = await temporaryFolder();
    await writeRandomModel(join(folder.path, 'model'), { architecture, head, lively: true });
    const { parity, files } = await exportModel({ from: folder.path, format, to: join(folder.path, 'out'), pictures: await drawnPictures(folder.path), version: '0' });
    expect(parity).toMatchObject({ pictures: 5, top1Agreement: 1, equal: true });
    expect((await readdir(join(folder.path, 'out'))).sort()).toEqual([...files].sort());
    expect(JSON.parse(await readFile(join(folder.path, 'out/parity.json'), 'utf8'))).toMatchObject({ format, ...parity });
  });

  test.each(EXPORT_FORMATS)('to %s is refused when the answers differ by more than the tolerance, and leaves nothing', async (format) => {
    await using folder = await temporaryFolder();
    await writeRandomModel(join(folder.path, 'model'));
    const pictures = await drawnPictures(folder.path, 2);
    await expect(exportModel({ from: folder.path, format, to: join(folder.path, 'out'), pictures, version: '0', tolerance: -1 })).rejects.toThrow('so nothing was written');
    await expect(exportModel({ from: folder.path, format, to: join(folder.path, 'model'), pictures, version: '0' })).rejects.toThrow('is there already');
    await expect(exportModel({ from: folder.path, format, to: join(folder.path, 'out'), pictures: [], version: '0' })).rejects.toThrow('Without pictures');
    expect((await readdir(folder.path)).filter((name) => !name.endsWith('.jpg'))).toEqual(['model']);
  });

  test('carries class names, sizes and normalisation in every format', async () => {
    await using folder = await temporaryFolder();
    const { classes, normalization } = await writeRandomModel(join(folder.path, 'model'), { classes: ['Ameise "A"', 'пчела'] });
    const pictures = await drawnPictures(folder.path, 1);
    for (const format of EXPORT_FORMATS) await exportModel({ from: folder.path, format, to: join(folder.path, format), pictures, version: '0' });
    const told = { classes: JSON.stringify(classes), image_size: '64', resize_shorter_side: '73', mean: JSON.stringify(normalization.mean), std: JSON.stringify(normalization.std) };
    expect(readSafetensors(await readFile(join(folder.path, 'safetensors/model.safetensors'))).metadata).toMatchObject({ format: 'pt', layout: 'NCHW', ...told });
    expect((JSON.parse(await readFile(join(folder.path, 'tfjs/model.json'), 'utf8')) as { userDefinedMetadata: object }).userDefinedMetadata).toMatchObject({ layout: 'NHWC', ...told });
    const onnx = await readFile(join(folder.path, 'onnx/model.onnx'));
    for (const [key, value] of Object.entries(told)) expect(onnx.indexOf(Buffer.concat([Buffer.from([0x0a, key.length]), Buffer.from(key), Buffer.from([0x12, Buffer.byteLength(value)]), Buffer.from(value)]))).toBeGreaterThan(0);
  });

  test.skipIf(!hasTorchvision)('to safetensors is what torchvision loads strictly, with the same logits (needs python3-torchvision)', async () => {
    await using folder = await temporaryFolder();
    await writeRandomModel(join(folder.path, 'model'), { architecture: 'resnet18', lively: true });
    const pictures = await drawnPictures(folder.path, 2);
    await exportModel({ from: folder.path, format: 'safetensors', to: join(folder.path, 'out'), pictures, version: '0' });
    const { model, card } = await openClassifier(folder.path);
    const pixels = await Promise.all(pictures.map((path) => preprocess(path, card.imageSize, card.normalization)));
    const expected = await probabilitiesOf(model, card, pixels);
    model.dispose();
    const answer = torchvision<number[]>(`
state, metadata = read_safetensors(given['file'])
model = torchvision.models.resnet18(num_classes=len(json.loads(metadata['classes'])))
model.load_state_dict(state, strict=True)
model.eval()
x = torch.tensor(given['pixels']).reshape(-1, given['size'], given['size'], 3).permute(0, 3, 1, 2)
with torch.no_grad():
    answer = model(x).softmax(1).flatten().tolist()`, { file: join(folder.path, 'out/model.safetensors'), size: card.imageSize, pixels: pixels.map((picture) => [...picture]) });
    expect(answer.length).toBe(expected.length);
    answer.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-5));
  });
});

const data = process.env.CHAMELEON_TEST_DATA;

describe.skipIf(!data)('with real weights and photographs (set CHAMELEON_TEST_DATA to run)', () => {
  test.each(EXPORT_FORMATS)('an export to %s has the same classes and probabilities', async (format) => {
    await using folder = await temporaryFolder();
    await useLibtorch();
    await writeRealModel(folder.path, data!);
    const photographs = join(data!, 'images/hymenoptera/val/ants');
    const pictures = (await readdir(photographs)).sort().slice(0, 24).map((name) => join(photographs, name));
    const { parity } = await exportModel({ from: folder.path, format, to: join(folder.path, 'out'), pictures, version: '0' });
    expect(parity).toMatchObject({ pictures: 24, top1Agreement: 1 });
    expect(parity.largestDifference).toBeLessThan(1e-4);
    const weights = await readFile(join(folder.path, format === 'safetensors' ? 'out/model.safetensors' : 'model.safetensors'));
    expect(toFloat32(readSafetensors(weights).tensors.get('fc.weight')!).length).toBe(200 * 512);
  });
});
