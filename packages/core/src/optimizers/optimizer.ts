import type { Tensor } from '@tensorflow/tfjs-core';
import type { Parameter } from '../parameter.js';

/** Parameters that learn at one rate. */
export interface ParameterGroup {
  name: string;
  learningRate: number;
  parameters: Parameter[];
}

/**
 * Changes parameters by their gradients. State is kept by parameter's name, is made at a parameter's first step, and
 * belongs to the optimizer.
 */
export interface Optimizer {
  readonly name: string;
  /** One step over every parameter of the groups that has a gradient. */
  step(groups: readonly ParameterGroup[]): void;
  /** State tensors by name ("exp_avg/layer1.0.conv1.weight"), borrowed, and the counts of steps. */
  state(): { tensors: Map<string, Tensor>; steps: Record<string, number> };
  /** Takes over state tensors, named as `state` names them. */
  load(tensors: Map<string, Tensor>, steps: Record<string, number>): void;
  dispose(): void;
}

/** State tensors of one kind each, by parameter, with the number of steps that each parameter has seen. */
export class StateTensors {
  readonly #tensors = new Map<string, Tensor>();
  readonly #steps = new Map<string, number>();

  /** The tensor of this kind for a parameter, made by `first` if it isn't there. */
  get(kind: string, parameter: Parameter, first: (value: Tensor) => Tensor): Tensor {
    const key = `${kind}/${parameter.name}`;
    let tensor = this.#tensors.get(key);
    if (tensor === undefined) this.#tensors.set(key, (tensor = first(parameter.value)));
    return tensor;
  }

  /** Takes over the tensor's next value. */
  replace(kind: string, parameter: Parameter, value: Tensor): void {
    const key = `${kind}/${parameter.name}`;
    this.#tensors.get(key)?.dispose();
    this.#tensors.set(key, value);
  }

  /** Counts a step of a parameter; the first is 1. */
  count(parameter: Parameter): number {
    const step = (this.#steps.get(parameter.name) ?? 0) + 1;
    this.#steps.set(parameter.name, step);
    return step;
  }

  state(): { tensors: Map<string, Tensor>; steps: Record<string, number> } {
    return { tensors: new Map(this.#tensors), steps: Object.fromEntries(this.#steps) };
  }

  load(tensors: Map<string, Tensor>, steps: Record<string, number>): void {
    this.dispose();
    for (const [name, tensor] of tensors) this.#tensors.set(name, tensor);
    for (const [name, step] of Object.entries(steps)) this.#steps.set(name, step);
  }

  dispose(): void {
    for (const tensor of this.#tensors.values()) tensor.dispose();
    this.#tensors.clear();
    this.#steps.clear();
  }
}

/** Parameters of a group that have a gradient, in sets that have seen the same number of steps. */
export function bySteps(parameters: readonly Parameter[], state: StateTensors): Map<number, Parameter[]> {
  const sets = new Map<number, Parameter[]>();
  for (const parameter of parameters) {
    if (parameter.gradient === null || !parameter.trainable) continue;
    const step = state.count(parameter);
    sets.set(step, [...(sets.get(step) ?? []), parameter]);
  }
  return sets;
}
