import { type Recipe, nearest, phaseIndexAt } from '@chameleon/core';
import { status } from '@grpc/grpc-js';
import type { Settings } from '../generated/chameleon/trainer/v1/trainer.js';
import { type AskedChange, type Change, changedPhase, groupNames } from '../live/change.js';
import { Refusal } from './protocol.js';
import type { RunLog } from './run-log.js';

/** A change with the name of the request that asked for it. */
export interface RecordedChange extends AskedChange {
  requestId: string;
}

/** A run that was changed so often is steered by a program that has gone wrong. */
const CHANGE_LIMIT = 1_000;

/** What was asked to be changed of a live run: each request once, and only what the run can do. */
export class ChangeRegister {
  readonly #changes: RecordedChange[];

  constructor(private readonly run: { recipe: Recipe; epochs: number }, private readonly log: Pick<RunLog, 'changeSteps' | 'changeCount' | 'learningRates' | 'epochs'>, recovered: readonly RecordedChange[]) {
    this.#changes = [...recovered];
  }

  /** As the state file has them. */
  get recorded(): RecordedChange[] {
    return this.#changes.map((recorded, i) => ({ ...recorded, step: this.log.changeSteps.get(i + 1) ?? recorded.step }));
  }

  /** As ranks are told, with the steps that they took them at. */
  get asked(): AskedChange[] {
    return this.recorded.map(({ step, change }) => ({ step, change }));
  }

  /** Notes a change. False: the same request was there before. @throws Refusal for what can't be changed so */
  ask(requestId: string, change: Change): boolean {
    if (requestId !== '' && this.#changes.some((earlier) => earlier.requestId === requestId)) return false;
    if (this.#changes.length >= CHANGE_LIMIT) throw new Refusal(status.RESOURCE_EXHAUSTED, `The run was changed ${CHANGE_LIMIT} times, and takes no more changes. Stop it, and start another with the settings that you want.`);
    if (change.kind === 'unfreeze') this.#requireFrozen();
    else this.#requireRate(change);
    this.#changes.push({ requestId, step: null, change });
    return true;
  }

  describe(): Settings {
    const rates = this.log.learningRates;
    return {
      groups: groupNames(this.run.recipe).map((name) => ({ name, learningRate: rates[name] })),
      unfrozen: this.#unfrozen,
      waiting: Math.max(0, this.#changes.length - this.log.changeCount),
    };
  }

  get #unfrozen(): boolean {
    const { recipe, epochs } = this.run;
    return changedPhase(recipe, phaseIndexAt(recipe, this.log.epochs, epochs), this.#changes).train === 'all';
  }

  #requireFrozen(): void {
    if (this.#unfrozen) throw new Refusal(status.FAILED_PRECONDITION, 'Everything learns already: there is nothing to unfreeze. To let the body learn faster or slower, set its learning rate.');
  }

  #requireRate({ group, learningRate }: Extract<Change, { kind: 'set-rate' }>): void {
    const names = groupNames(this.run.recipe);
    if (!names.includes(group)) {
      const near = nearest(group, names);
      throw new Refusal(status.INVALID_ARGUMENT, `The run has no group called ${JSON.stringify(group.slice(0, 100))}. ${near ? `Did you mean ${near}? ` : ''}Its groups are ${names.join(', ')}.`);
    }
    if (!(Number.isFinite(learningRate) && learningRate > 0)) throw new Refusal(status.INVALID_ARGUMENT, `${learningRate} can't be a learning rate: it has to be a number above 0.`);
  }
}
