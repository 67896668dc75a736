import { type Tensor, add, div, mul, scalar, sqrt, square, sub, tidy, zerosLike } from '@tensorflow/tfjs-core';
import { hasKernel, runKernel } from '../ops/kernels.js';
import type { Parameter } from '../parameter.js';
import { type Optimizer, type ParameterGroup, StateTensors, bySteps } from './optimizer.js';

export interface AdamOptions {
  beta1?: number;
  beta2?: number;
  epsilon?: number;
  weightDecay?: number;
  /** AdamW: decay shrinks the weights themselves instead of joining the gradient (Loshchilov and Hutter, 2019). */
  decoupled?: boolean;
}

/** Adam (Kingma and Ba, 2015); torch.optim.Adam, and with `decoupled` torch.optim.AdamW. */
export class Adam implements Optimizer {
  readonly name: string;
  readonly #state = new StateTensors();
  readonly #options: Required<AdamOptions>;

  constructor({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, decoupled = false }: AdamOptions = {}) {
    this.#options = { beta1, beta2, epsilon, weightDecay, decoupled };
    this.name = decoupled ? 'adamw' : 'adam';
  }

  step(groups: readonly ParameterGroup[]): void {
    for (const { learningRate, parameters } of groups) {
      for (const [step, set] of bySteps(parameters, this.#state)) {
        const first = set.map((p) => this.#state.get('exp_avg', p, zerosLike));
        const second = set.map((p) => this.#state.get('exp_avg_sq', p, zerosLike));
        if (hasKernel('AdamStep')) {
          runKernel('AdamStep', { parameters: set.map((p) => p.value), gradients: set.map((p) => p.gradient!), first, second }, { ...this.#options, learningRate, step });
          for (const parameter of set) parameter.changed();
        } else set.forEach((parameter, i) => this.#composed(parameter, first[i]!, second[i]!, learningRate, step));
      }
    }
  }

  /** The paper's algorithm 1, one line an operator. */
  #composed(parameter: Parameter, m: Tensor, v: Tensor, rate: number, step: number): void {
    const { beta1, beta2, epsilon, weightDecay, decoupled } = this.#options;
    const [value, first, second] = tidy(() => {
      const theta = decoupled ? mul(parameter.value, scalar(1 - rate * weightDecay)) : parameter.value;
      const g = decoupled || weightDecay === 0 ? parameter.gradient! : add(parameter.gradient!, mul(parameter.value, scalar(weightDecay)));
      const mNext = add(mul(m, scalar(beta1)), mul(g, scalar(1 - beta1)));
      const vNext = add(mul(v, scalar(beta2)), mul(square(g), scalar(1 - beta2)));
      const mHat = div(mNext, scalar(1 - beta1 ** step)), vHat = div(vNext, scalar(1 - beta2 ** step));
      return [sub(theta, mul(div(mHat, add(sqrt(vHat), scalar(epsilon))), scalar(rate))), mNext, vNext] as Tensor[];
    });
    parameter.replace(value!);
    this.#state.replace('exp_avg', parameter, first!);
    this.#state.replace('exp_avg_sq', parameter, second!);
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
