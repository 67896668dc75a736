import { join } from 'node:path';
import { UserError } from '@chameleon/core';
import { z } from 'zod';
import { readIfThere, writeWholeSync } from '../files.js';
import { changeSchema } from '../live/change.js';

/** What a coordinator has to know again after `kill -9`, beside the run's own files. */
const stateSchema = z.object({
  formatVersion: z.literal(1),
  /** The last generation that was begun; the next one's number is above it, whatever happened. */
  number: z.number().int().nonnegative(),
  /** Its members, who may still train in it; null once it has ended. */
  generation: z.object({ members: z.array(z.object({ id: z.string(), node: z.string(), address: z.string(), port: z.number(), seesRunDirectory: z.boolean() })), split: z.array(z.number()), holder: z.number(), start: z.object({ step: z.number(), epoch: z.number() }), reason: z.string() }).nullable(),
  /** Workers that were lost, in all. */
  restarts: z.number().int().nonnegative(),
  finished: z.boolean(),
  /** What was asked to be changed of the live run, in order; with the step that it was first taken at. */
  changes: z.array(z.object({ requestId: z.string(), step: z.number().int().nonnegative().nullable(), change: changeSchema })).default([]),
});
export type CoordinatorState = z.infer<typeof stateSchema>;

const pathOf = (run: string) => join(run, 'coordinator.json');

/** Null where there is none. @throws UserError when it can't be understood */
export async function readState(run: string): Promise<CoordinatorState | null> {
  const bytes = await readIfThere(pathOf(run));
  if (!bytes) return null;
  try {
    return stateSchema.parse(JSON.parse(bytes.toString()));
  } catch (error) {
    throw new UserError(`${pathOf(run)} can't be understood: it was damaged, or another version wrote it. Remove it to go on from the newest checkpoint.`, { cause: error });
  }
}

/** Written beside its place, synced and renamed, before anybody hears of what it says. */
export function writeState(run: string, state: Omit<CoordinatorState, 'formatVersion'>): void {
  const whole: CoordinatorState = { formatVersion: 1, ...state };
  writeWholeSync(pathOf(run), `${JSON.stringify(whole)}\n`);
}
