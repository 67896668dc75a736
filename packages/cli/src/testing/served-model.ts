import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { createClassifier, stateDictOf, writeSafetensors } from '@chameleon/core';
import { IMAGENET_NORMALIZATION } from '@chameleon/data';
import '@chameleon/tfjs-libtorch';
import { writeModel } from '@chameleon/trainer';
import { ready, setBackend } from '@tensorflow/tfjs-core';
import { BIN, plainEnvironment } from './chameleon.js';

/** A model folder with a small network of random weights. */
export async function writeRandomModel(folder: string, { name = 'clothes', seed = 1 } = {}): Promise<void> {
  await setBackend('libtorch');
  await ready();
  const model = createClassifier({ architecture: 'resnet16w32', classCount: 2, head: 'linear', seed });
  await writeModel(folder, writeSafetensors(stateDictOf(model)), {
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
