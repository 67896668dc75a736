import { type Classifier, type ParameterGroup, type Phase, STAGE_NAMES, rateFactor } from '@chameleon/core';

/**
 * The parameters that learn in a phase, grouped by rate: `head` and `body`, or a stage of the body by its name where
 * the recipe gives it a rate of its own. `learningRate` is the run's rate at this step, before the groups' factors.
 */
export function parameterGroups(model: Classifier, phase: Phase, learningRate: number): ParameterGroup[] {
  const groups = new Map<string, ParameterGroup>();
  for (const stage of STAGE_NAMES) {
    const parameters = model.stages.get(stage)!.parameters().filter((parameter) => parameter.trainable);
    if (parameters.length === 0) continue;
    const name = stage === 'fc' ? 'head' : phase.rates[stage] === undefined ? 'body' : stage;
    const group = groups.get(name);
    if (group) group.parameters.push(...parameters);
    else groups.set(name, { name, learningRate: learningRate * rateFactor(phase, stage), parameters });
  }
  return [...groups.values()];
}

/** The rate of each group by its name. */
export const ratesOf = (groups: readonly ParameterGroup[]): Record<string, number> => Object.fromEntries(groups.map((group) => [group.name, group.learningRate]));
