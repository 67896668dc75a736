// One pass over each parameter: what an optimizer reads and writes goes through the memory once. Written as single
// operators, Adam passes over 85 MB of ResNet34 a dozen times a step.
#pragma once

#include "environment.h"

namespace chameleon {

/// adamStep(parameters, gradients, firstMoments, secondMoments, options): in place; options as in torch.optim.Adam(W).
Napi::Value adam_step(const Napi::CallbackInfo& info);
/// sgdStep(parameters, gradients, momentumBuffers, options): in place; options as in torch.optim.SGD.
Napi::Value sgd_step(const Napi::CallbackInfo& info);

}  // namespace chameleon
