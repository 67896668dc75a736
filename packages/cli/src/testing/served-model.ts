import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createClassifier, hostTensor, stateDictOf, toFloat32, writeSafetensors } from '@chameleon/core';
import { IMAGENET_NORMALIZATION, drawDataset } from '@chameleon/data';
import '@chameleon/tfjs-libtorch';
import { writeModel } from '@chameleon/trainer';
import { ready, setBackend } from '@tensorflow/tfjs-core';
import { BIN, plainEnvironment, temporaryFolder } from './chameleon.js';

/** A model folder with a small network of random weights; `contrary` gives each picture the other class than without. */
export async function writeRandomModel(folder: string, { name = 'clothes', seed = 1, contrary = false } = {}): Promise<void> {
  await setBackend('libtorch');
  await ready();
  const model = createClassifier({ architecture: 'resnet16w32', classCount: 2, head: 'linear', seed });
  const state = [...stateDictOf(model)].map(([key, values]) => [key, contrary && key.startsWith('fc.') ? hostTensor(toFloat32(values).map((value) => -value), values.shape) : values] as const);
  await writeModel(folder, writeSafetensors(new Map(state)), {
    name, architecture: 'resnet16w32', head: 'linear', classes: ['camouflage', 'normal'], imageSize: 64, normalization: IMAGENET_NORMALIZATION, precision: 'float32', recipe: 'none', validAccuracy: null, runId: `run-${seed}`, createdAt: new Date(0).toISOString(),
  });
  model.dispose();
}

export interface Served {
  child: ChildProcess;
  url: string;
  exited: Promise<number | null>;
  err: () => string;
}

/** Starts `chameleon serve` and waits for the line that says where it answers. */
export async function startServe(cwd: string, args: string[], environment: Record<string, string> = {}): Promise<Served> {
  const child = spawn(process.execPath, [BIN, 'serve', ...args], { cwd, env: plainEnvironment(environment), stdio: ['ignore', 'pipe', 'pipe'] });
  let err = '';
  child.stderr.on('data', (text: Buffer) => (err += text.toString()));
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const line = await Promise.race([once(createInterface(child.stdout), 'line').then(([text]) => text as string), exited.then((code) => Promise.reject(new Error(`it ended with ${code}: ${err}`)))]);
  return { child, url: /at (https?:\S+)$/.exec(line)![1]!, exited, err: () => err };
}

export interface TwoModels extends AsyncDisposable {
  /** A JPEG file. */
  picture: Buffer;
  /** Serves ./models/first; ./models/second and ./models/contrary, which always calls the other class, lie beside it. The process ends with the fixture, if not before. */
  serve(...args: string[]): Promise<Served>;
}

/** A folder with two models, a picture, and the servers that are started in it. */
export async function twoModels(...settings: string[]): Promise<TwoModels> {
  const folder = await temporaryFolder(), children: ChildProcess[] = [];
  await mkdir(join(folder.path, 'models'));
  await writeRandomModel(join(folder.path, 'models/first'));
  await writeRandomModel(join(folder.path, 'models/second'), { seed: 2 });
  await writeRandomModel(join(folder.path, 'models/contrary'), { contrary: true });
  await drawDataset(join(folder.path, 'photos'), { count: 2, size: 64 });
  return {
    picture: await readFile(join(folder.path, 'photos/normal_clothes/0000.jpg')),
    serve: async (...args) => {
      const served = await startServe(folder.path, ['./models/first', '--port', '0', ...settings, ...args]);
      children.push(served.child);
      return served;
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of children) child.kill('SIGKILL');
      await folder[Symbol.asyncDispose]();
    },
  };
}
