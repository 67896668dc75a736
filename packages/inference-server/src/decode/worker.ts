import { parentPort } from 'node:worker_threads';
import { messageOf } from '@chameleon/core/errors';
import { PictureError } from '@chameleon/data/decoding';
import type { DecodeReply, DecodeRequest } from './messages.js';
import { preprocessUpload } from './preprocess.js';

/** A decoding thread: one picture after another. */

const port = parentPort!;

async function answer(request: DecodeRequest): Promise<DecodeReply> {
  try {
    return { kind: 'decoded', picture: await preprocessUpload(request) };
  } catch (error) {
    if (error instanceof PictureError) return { kind: 'bad', fault: error.fault, problem: error.problem };
    return { kind: 'failed', message: messageOf(error) };
  }
}

port.on('message', (request: DecodeRequest) => {
  void answer(request).then((reply) => port.postMessage(reply));
});
port.postMessage({ kind: 'ready' } satisfies DecodeReply);
