import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { drawDataset } from '@chameleon/data';
import { afterAll, beforeAll, expect, it } from 'vitest';

const bin = fileURLToPath(new URL('../../bin/chameleon.js', import.meta.url));
let folder: string;
const chameleon = (...args: string[]) => promisify(execFile)(process.execPath, [bin, ...args], { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' } });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chameleon-export-'));
  await drawDataset(join(folder, 'photos'), { count: 20, size: 64 });
  await chameleon('train', '--data', 'photos', '--epochs', '1', '--image-size', '32', '--json');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('exports the newest run to every format, compared on its validation pictures', async () => {
  for (const [format, file] of [['safetensors', 'model.safetensors'], ['onnx', 'model.onnx'], ['tfjs', 'model.json']] as const) {
    const told = JSON.parse((await chameleon('export', '--to', format, '--json')).stdout) as { folder: string; files: string[]; pictures: number; equal: boolean };
    expect(told).toMatchObject({ pictures: 4, equal: true });
    expect(told.files).toContain(file);
    expect((await readdir(join(folder, told.folder))).sort()).toEqual([...told.files].sort());
  }
});

it('takes a model folder alone and pictures of one\'s own, and says what is wrong', async () => {
  const [run] = await readdir(join(folder, 'runs'));
  const { stdout } = await chameleon('export', `./runs/${run}/model`, '--to', 'onnx', '--into', 'mine', '--pictures', 'photos');
  expect(stdout).toMatch(/^mine: model\.onnx, parity\.json\nThe same answers on 20 pictures: probabilities differ by \S+ at most, 100 % have the same class\.\n$/);
  expect(JSON.parse(await readFile(join(folder, 'mine/parity.json'), 'utf8'))).toMatchObject({ pictures: 20, top1Agreement: 1 });
  const drawn = await chameleon('export', `./runs/${run}/model`, '--to', 'safetensors', '--into', 'drawn', '--json');
  expect(JSON.parse(drawn.stdout)).toMatchObject({ pictures: 16 });
  await expect(chameleon('export', '--to', 'onnx', '--into', 'mine')).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('mine is there already') as unknown });
  await expect(chameleon('export', '--to', 'caffe')).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('Allowed choices are safetensors, onnx, tfjs') as unknown });
});
