import { parentPort, workerData } from 'node:worker_threads';
import { UserError } from '@chameleon/core';
import { ready, setBackend } from '@tensorflow/tfjs-core';
import type { ComputeReply, ComputeRequest, ComputeSetup } from './messages.js';
import { ServedModel } from './served-model.js';

/** The compute thread: loads one model, warms it, then answers one request after another. */

const port = parentPort!;
const setup = workerData as ComputeSetup;

async function open({ engine, folder, precision, threads, warmUpSizes }: ComputeSetup): Promise<ServedModel> {
  const module = (await import(engine.module)) as { setThreads?: (count: number) => void };
  if (!(await setBackend(engine.backend))) throw new UserError(`The backend ${engine.backend} does not start. \`chameleon doctor\` says why.`);
  await ready();
  module.setThreads?.(threads);
  const model = await ServedModel.open(folder, precision);
  const { imageSize } = model.card;
  for (const size of warmUpSizes) model.predict(Array.from({ length: size }, () => new Float32Array(imageSize * imageSize * 3)));
  return model;
}

function answer(model: ServedModel, request: Exclude<ComputeRequest, { kind: 'stop' }>): ComputeReply {
  const { id } = request;
  const startMs = performance.now();
  try {
    switch (request.kind) {
      case 'predict': {
        const probabilities = model.predict(request.pictures);
        return { kind: 'predicted', id, probabilities, computeMs: performance.now() - startMs };
      }
      case 'explain': {
        const explained = model.explain(request.picture, request.classIndex);
        return { kind: 'explained', id, ...explained, computeMs: performance.now() - startMs };
      }
      default:
        return request satisfies never;
    }
  } catch (error) {
    return { kind: 'failed', id, message: error instanceof Error ? error.message : String(error) };
  }
}

try {
  const model = await open(setup);
  port.on('message', (request: ComputeRequest) => {
    if (request.kind === 'stop') {
      model.dispose();
      port.close();
      return;
    }
    port.postMessage(answer(model, request));
  });
  port.postMessage({ kind: 'ready', card: model.card, precision: model.precision } satisfies ComputeReply);
} catch (error) {
  port.postMessage({ kind: 'refused', message: error instanceof Error ? error.message : String(error) } satisfies ComputeReply);
}
