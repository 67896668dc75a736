import type { Tensor } from '@tensorflow/tfjs-core';
import type { Classifier } from '../models/classifier.js';
import { stateDictOf } from '../weights/state-dict.js';
import { type BodyOperation, StepwiseBody } from './body.js';
import { type ActivationThresholds, ActivationWatch } from './calibration.js';
import { foldNetwork } from './fold.js';
import { networkOf } from './network.js';

/**
 * Computes pictures in float32 and finds which values of the folded network fit into bytes how.
 * @param batches normalised pictures [batch, height, width, 3] of training, which are disposed here
 */
export async function calibrate(model: Classifier, batches: AsyncIterable<Tensor> | Iterable<Tensor>): Promise<ActivationThresholds> {
  const operations = foldNetwork(networkOf(model.architecture, model.head), stateDictOf(model)).filter((operation): operation is BodyOperation => operation.kind === 'convolution' || operation.kind === 'max-pool');
  const watch = new ActivationWatch(operations), body = new StepwiseBody(operations, 'float32');
  try {
    for await (const pictures of batches) {
      body.run(pictures, (operation, value) => watch.see(operation, value)).dispose();
      pictures.dispose();
    }
  } finally {
    body.dispose();
  }
  return watch.thresholds();
}
