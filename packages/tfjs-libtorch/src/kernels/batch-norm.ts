import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Handle } from '../addon.js';
import { type Inputs, type KernelScope, defineKernel, nchw, nhwc } from '../kernel.js';

/** Statistics that are not one number a channel broadcast as any tensors do. */
function composed(scope: KernelScope, { x, scale, offset, mean, variance }: Inputs, epsilon: number): Handle {
  const inverse = scope.aten('aten::rsqrt', scope.aten('aten::add.Scalar', scope.handle(variance!), epsilon));
  const y = scope.aten('aten::mul.Tensor', scope.aten('aten::sub.Tensor', scope.handle(x!), scope.handle(mean!)), inverse);
  const scaled = scale ? scope.aten('aten::mul.Tensor', y, scope.handle(scale)) : y;
  return offset ? scope.aten('aten::add.Tensor', scaled, scope.handle(offset)) : scaled;
}

/** ATen walks over parameters by the channels that x has, and divides by how many values each has: it must not be told otherwise. */
function checkChannels(x: TensorInfo, parameters: Record<string, TensorInfo | undefined>): void {
  const channels = x.shape[x.shape.length - 1]!;
  if (![2, 4].includes(x.shape.length) || x.shape.includes(0)) throw new Error(`x has the shape [${x.shape.join(', ')}]; it is to be [batch, channels] or [batch, height, width, channels], and not empty`);
  for (const [name, t] of Object.entries(parameters)) {
    if (t && (t.shape.length !== 1 || t.shape[0] !== channels || t.dtype !== 'float32')) throw new Error(`${name} is ${t.dtype} [${t.shape.join(', ')}]; for ${channels} channels it is to be float32 [${channels}]`);
  }
}

function checkAlike(x: TensorInfo, dy: TensorInfo): void {
  if (dy.shape.join() !== x.shape.join()) throw new Error(`the gradient is of shape [${dy.shape.join(', ')}], but x of [${x.shape.join(', ')}]`);
}

interface BatchNormAttrs { training: boolean; momentum: number; epsilon: number }
interface BatchNormBackwardAttrs { training: boolean; epsilon: number; needsInput: boolean; needsParameters: boolean }

/**
 * BatchNorm over [batch, height, width, channels] or [batch, channels], activations in either precision, parameters
 * and statistics in float32. Equals torch.nn.functional.batch_norm.
 */
export function registerBatchNorm(): void {
  const channelsFirst = (scope: Parameters<typeof nchw>[0], x: number, rank: number) => (rank === 4 ? nchw(scope, x) : x);
  const channelsLast = (scope: Parameters<typeof nchw>[0], x: number, rank: number) => (rank === 4 ? nhwc(scope, x) : x);

  /** → y, the batch's mean, its 1/deviation, and the running statistics after it (the inputs stay as they were). */
  defineKernel<BatchNormAttrs>('BatchNorm', (scope, { x, scale, shift, mean, variance }, { training, momentum, epsilon }) => {
    const rank = x!.shape.length, channels = x!.shape[rank - 1]!;
    checkChannels(x!, { scale, shift, mean, variance });
    const input = channelsFirst(scope, scope.handle(x!), rank);
    const runningMean = training ? scope.aten('aten::clone', scope.handle(mean!)) : scope.handle(mean!);
    const runningVariance = training ? scope.aten('aten::clone', scope.handle(variance!)) : scope.handle(variance!);
    const [y, batchMean, inverseDeviation] = scope.atenAll('aten::native_batch_norm', input, scope.handle(scale!), scope.handle(shift!), runningMean, runningVariance, training, momentum, epsilon) as [number, number, number];
    const output = scope.output(rank === 4 ? channelsLast(scope, y, rank) : y, 'float32', x!.shape);
    if (!training) return [output];
    return [output, scope.output(batchMean, 'float32', [channels]), scope.output(inverseDeviation, 'float32', [channels]), scope.output(runningMean), scope.output(runningVariance)];
  });

  /** → mean and biased variance of each channel, in float32; of `mean` and `variance` only the type counts. */
  defineKernel('BatchNormMoments', (scope, { x, mean, variance }) => {
    checkChannels(x!, { mean, variance });
    const statistics = [mean!, variance!].map((t) => scope.aten('aten::clone', scope.handle(t)));
    const [own, biased] = scope.atenAll('aten::batch_norm_update_stats', channelsFirst(scope, scope.handle(x!), x!.shape.length), ...statistics, 0) as [number, number];
    return [scope.output(own), scope.output(biased)];
  });

  /** → the gradients that were asked for, in the order input, scale, shift. */
  defineKernel<BatchNormBackwardAttrs>('BatchNormBackward', (scope, { dy, x, scale, mean, variance, batchMean, inverseDeviation }, { training, epsilon, needsInput, needsParameters }) => {
    const rank = x!.shape.length, channels = x!.shape[rank - 1]!;
    checkChannels(x!, { scale, mean, variance, batchMean, inverseDeviation });
    checkAlike(x!, dy!);
    const saved = [batchMean, inverseDeviation].map((t) => (t ? scope.handle(t) : scope.aten('aten::empty.memory_format', [0])));
    const [dx, dScale, dShift] = scope.atenAll('aten::native_batch_norm_backward', channelsFirst(scope, scope.handle(dy!), rank), channelsFirst(scope, scope.handle(x!), rank),
      scope.handle(scale!), scope.handle(mean!), scope.handle(variance!), saved[0], saved[1], training, epsilon, [needsInput, needsParameters, needsParameters]);
    const outputs = needsInput ? [scope.output(channelsLast(scope, dx!, rank), 'float32', x!.shape)] : [];
    if (needsParameters) outputs.push(scope.output(dScale!, 'float32', [channels]), scope.output(dShift!, 'float32', [channels]));
    return outputs;
  });

  // TF.js's own, for inference: statistics are given.
  defineKernel<{ varianceEpsilon: number }>('FusedBatchNorm', (scope, { x, scale, offset, mean, variance }, { varianceEpsilon }) => {
    const rank = x!.shape.length;
    if (mean!.shape.length > 1) return scope.output(composed(scope, { x: x!, mean: mean!, variance: variance!, ...(scale && { scale }), ...(offset && { offset }) }, varianceEpsilon), 'float32', x!.shape);
    if (x!.shape.includes(0)) return scope.output(scope.aten('aten::clone', scope.handle(x!)), 'float32', x!.shape);
    checkChannels(x!, { scale, offset, mean, variance });
    const optional = (t: typeof x) => (t ? scope.handle(t) : null);
    const [y] = scope.atenAll('aten::native_batch_norm', channelsFirst(scope, scope.handle(x!), rank), optional(scale), optional(offset), scope.handle(mean!), scope.handle(variance!), false, 0, varianceEpsilon);
    return scope.output(channelsLast(scope, y!, rank), 'float32', x!.shape);
  });
}
