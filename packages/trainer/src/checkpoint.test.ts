import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pruneCheckpoints, writeCheckpoint } from './checkpoint.js';
import { FILES } from './run-directory.js';
import { temporaryFolder } from './testing/small-run.js';

it('two writers of one step do not take each other’s files away, and what a killed one left goes with the checkpoints of its time', async () => {
  await using folder = await temporaryFolder();
  const bytes = { model: Buffer.from('model'), optimizer: Buffer.from('optimizer'), state: '{}' }, checkpoints = join(folder.path, FILES.checkpoints);
  const write = (step: number) => writeCheckpoint(folder.path, step, bytes);
  await mkdir(join(checkpoints, '00000010.killed.partial'), { recursive: true });
  await write(10);
  await write(20);
  await mkdir(join(checkpoints, '00000030.writing.partial'));
  await Promise.allSettled([write(30), write(30), write(30)]);
  await pruneCheckpoints(folder.path, 2, null);
  expect((await readdir(checkpoints)).sort()).toEqual(['00000020', '00000030', '00000030.writing.partial', 'last.json']);
  expect((await readdir(join(checkpoints, '00000030'))).sort()).toEqual(['model.safetensors', 'optimizer.safetensors', 'state.json']);
});
