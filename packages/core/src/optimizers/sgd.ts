import { type Tensor, add, mul, scalar, sub, tidy, zerosLike } from '@tensorflow/tfjs-core';
import { hasKernel, runKernel } from '../ops/kernels.js';
import type { Parameter } from '../parameter.js';
import { type Optimizer, type ParameterGroup, StateTensors, bySteps } from './optimizer.js';

export interface SgdOptions { momentum?: number; dampening?: number; weightDecay?: number; nesterov?: boolean }

/** Stochastic gradient descent with momentum (Sutskever and others, 2013); torch.optim.SGD. */
export class Sgd implements Optimizer {
  readonly name = 'sgd';
  readonly #state = new StateTensors();
  readonly #options: Required<SgdOptions>;

  constructor({ momentum = 0.9, dampening = 0, weightDecay = 0, nesterov = false }: SgdOptions = {}) {
    this.#options = { momentum, dampening, weightDecay, nesterov };
  }

  step(groups: readonly ParameterGroup[]): void {
    for (const { learningRate, parameters } of groups) {
      for (const [step, set] of bySteps(parameters, this.#state)) {
        const buffers = set.map((p) => this.#state.get('momentum_buffer', p, zerosLike));
        if (hasKernel('SgdStep')) {
          runKernel('SgdStep', { parameters: set.map((p) => p.value), gradients: set.map((p) => p.gradient!), buffers }, { ...this.#options, learningRate, step });
          for (const parameter of set) parameter.changed();
        } else set.forEach((parameter, i) => this.#composed(parameter, buffers[i]!, learningRate, step));
      }
    }
  }

  #composed(parameter: Parameter, buffer: Tensor, rate: number, step: number): void {
    const { momentum, dampening, weightDecay, nesterov } = this.#options;
    const [value, next] = tidy(() => {
      const g = weightDecay === 0 ? parameter.gradient! : add(parameter.gradient!, mul(parameter.value, scalar(weightDecay)));
      // The first step's buffer is the gradient itself.
      const b = add(mul(buffer, scalar(momentum)), mul(g, scalar(step === 1 ? 1 : 1 - dampening)));
      const direction = nesterov ? add(g, mul(b, scalar(momentum))) : b;
      return [sub(parameter.value, mul(direction, scalar(rate))), b] as Tensor[];
    });
    parameter.replace(value!);
    this.#state.replace('momentum_buffer', parameter, next!);
  }

  state(): ReturnType<Optimizer['state']> {
    return this.#state.state();
  }

  load(tensors: Map<string, Tensor>, steps: Record<string, number>): void {
    this.#state.load(tensors, steps);
  }

  dispose(): void {
    this.#state.dispose();
  }
}
