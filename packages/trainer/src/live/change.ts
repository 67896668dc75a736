import { type ParameterGroup, type Phase, type Recipe, type Schedule, STAGE_NAMES, scheduleFactor } from '@chameleon/core';
import { z } from 'zod';

/**
 * What somebody changes of a run while it trains. Changes are a list that only grows; all ranks take the next one after the same step,
 * and the position has those that were taken: so a checkpoint, a joiner and a run that does steps again all train with the same settings.
 */
export const changeSchema = z.discriminatedUnion('kind', [
  /** Everything learns from now on. */
  z.object({ kind: z.literal('unfreeze') }),
  /** A group's learning rate from now on; the run's schedule goes on from there, in proportion. */
  z.object({ kind: z.literal('set-rate'), group: z.string(), learningRate: z.number().positive() }),
]);
export type Change = z.infer<typeof changeSchema>;

/** `step`: steps that were applied before it; it counts from the next one on. */
export const takenChangeSchema = z.object({ step: z.number().int().nonnegative(), change: changeSchema });
export type TakenChange = z.infer<typeof takenChangeSchema>;

/** A change as it was asked for: `step` is null until the ranks have taken it for the first time. */
export interface AskedChange {
  step: number | null;
  change: Change;
}

/** An unfrozen body learns so much slower than the head where the recipe has no phase of its own for that: as in the article's recipes. */
const UNFROZEN_BODY_FACTOR = 0.01;

/**
 * The change to take after `step`; undefined for none. Ranks hear of a change at different times: one that has no step yet is taken
 * when all have heard of it (`heardBy` of `worldSize`), one that has is taken at that step again.
 */
export function nextChange(asked: readonly AskedChange[], taken: readonly TakenChange[], { step, heardBy, worldSize }: { step: number; heardBy: number; worldSize: number }): Change | undefined {
  const next = asked[taken.length];
  if (next === undefined) return undefined;
  return (next.step === null ? heardBy === worldSize : next.step <= step) ? next.change : undefined;
}

/** Whether this rank waits for the others to hear of a change: its part of `heardBy`. */
export const hasHeard = (asked: readonly AskedChange[], taken: readonly TakenChange[]): boolean => asked[taken.length]?.step === null;

/** A recipe's phase with what was changed: unfrozen, it has the rates of the recipe's next phase in which everything learns. */
export function changedPhase(recipe: Recipe, index: number, taken: readonly Pick<TakenChange, 'change'>[]): Phase {
  const phase = recipe.phases[index]!;
  if (phase.train === 'all' || !taken.some(({ change }) => change.kind === 'unfreeze')) return phase;
  return recipe.phases.slice(index + 1).find(({ train }) => train === 'all') ?? { ...phase, train: 'all', rates: { body: UNFROZEN_BODY_FACTOR, ...phase.rates } };
}

/** The groups with the rates that were set for them, each followed through the schedule since. */
export function changedRates(groups: readonly ParameterGroup[], taken: readonly TakenChange[], schedule: Schedule, { step, ...run }: { step: number; stepCount: number; stepsPerEpoch: number }): ParameterGroup[] {
  const factorAt = (at: number) => scheduleFactor(schedule, { ...run, step: at });
  return groups.map((group) => {
    const set = taken.findLast(({ change }) => change.kind === 'set-rate' && change.group === group.name);
    if (set?.change.kind !== 'set-rate') return group;
    const before = factorAt(set.step);
    return { ...group, learningRate: set.change.learningRate * (before > 0 ? factorAt(step) / before : 1) };
  });
}

/** Groups that a recipe can have, in the model's order: the head, and the body or those of its stages that have a rate of their own. */
export function groupNames({ phases }: Recipe): string[] {
  const own = STAGE_NAMES.filter((stage) => stage !== 'fc' && phases.some(({ rates }) => rates[stage] !== undefined));
  return [...own, 'body', 'head'];
}

export function describeChange(change: Change): string {
  return change.kind === 'unfreeze' ? 'everything learns' : `learning rate of ${change.group} set to ${change.learningRate}`;
}

/** What a run's record says was changed: taken at those steps again by a run that goes on from an earlier state. */
export function askedAgain(events: readonly { type: string }[]): AskedChange[] {
  const asked: AskedChange[] = [];
  for (const event of events) {
    const told = takenFact.safeParse(event).data;
    if (told) asked[told.id - 1] = { step: told.step, change: told.change };
  }
  return asked;
}

const takenFact = z.object({ type: z.literal('change'), id: z.number().int().positive(), step: z.number(), change: changeSchema });
