import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '@chameleon/core';
import type { ComputeReply, ComputeRequest, ComputeSetup } from './messages.js';
import { OnnxModel } from './onnx-model.js';
import { giveMemoryBack, openServedModel } from './open-model.js';
import { ServedModel } from './served-model.js';

/** The compute thread: loads one model, warms it, then answers one request after another. */

const port = parentPort!;
const setup = workerData as ComputeSetup;

async function open({ engine, folder, precision, threads, warmUpSizes }: ComputeSetup): Promise<ServedModel | OnnxModel> {
  const model = engine.backend === 'onnxruntime' ? await OnnxModel.open(folder, precision, threads, engine) : await openServedModel(folder, precision, engine, threads);
  const { imageSize } = model.card;
  for (const size of warmUpSizes) await model.predict(Array.from({ length: size }, () => new Float32Array(imageSize * imageSize * 3)));
  return model;
}

async function answer(model: ServedModel | OnnxModel, request: Exclude<ComputeRequest, { kind: 'stop' }>): Promise<ComputeReply> {
  const { id } = request;
  const startMs = performance.now();
  try {
    switch (request.kind) {
      case 'predict': {
        const probabilities = await model.predict(request.pictures);
        return { kind: 'predicted', id, probabilities, computeMs: performance.now() - startMs };
      }
      case 'explain': {
        const explained = await model.explain(request.picture, request.classIndex);
        return { kind: 'explained', id, ...explained, computeMs: performance.now() - startMs };
      }
      default:
        return request satisfies never;
    }
  } catch (error) {
    return { kind: 'failed', id, message: messageOf(error) };
  }
}

async function letGo(model: ServedModel | OnnxModel): Promise<void> {
  await model.dispose();
  if (model instanceof ServedModel) await giveMemoryBack(setup.engine);
}

try {
  const model = await open(setup);
  port.on('message', (request: ComputeRequest) => {
    if (request.kind === 'stop') {
      void letGo(model).finally(() => port.close());
      return;
    }
    void answer(model, request).then((reply) => port.postMessage(reply));
  });
  port.postMessage({ kind: 'ready', card: model.card, precision: model.precision } satisfies ComputeReply);
} catch (error) {
  port.postMessage({ kind: 'refused', message: messageOf(error) } satisfies ComputeReply);
}
