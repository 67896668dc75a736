// BatchNorm with what stands beside it in a network, in as few passes over memory as the arithmetic allows.
#pragma once

#include <napi.h>

namespace chameleon {

/// fusedBatchNorm(x, scale, shift, mean, variance, summand | null, { training, momentum, epsilon, relu, inPlace }) →
/// [y, batchMean, inverseDeviation, runningMean, runningVariance], in inference [y]. y = relu(BatchNorm(x) + summand);
/// x is channels last and stays as it is, or with inPlace becomes y.
Napi::Value fused_batch_norm(const Napi::CallbackInfo& info);

/// fusedBatchNormBackward(dy, x, y | null, scale, shift, mean, variance, batchMean | null, inverseDeviation | null,
/// { epsilon, relu, needsInput, needsParameters, needsSum }) → [dx, dScale, dShift, dSum], null where not asked for.
/// ReLU's mask comes from y, or without a sum from x alone. dSum is the gradient of the sum before ReLU.
Napi::Value fused_batch_norm_backward(const Napi::CallbackInfo& info);

}  // namespace chameleon
