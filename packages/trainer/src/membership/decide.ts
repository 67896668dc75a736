import { type Generation, type Member, type MembershipState, compareProgress } from './membership.js';
import { betterSplit, splitBySpeed } from './rebalance.js';
import { evenSplit } from './split.js';

export interface MembershipOptions {
  /** Pictures of a step over all ranks. */
  batchSize: number;
  minWorldSize: number;
  /** As soon as so many are there, nobody more is waited for, and nobody more is let in. */
  maxWorldSize: number;
  /** How long those who come one after the other are gathered, before a generation is begun or ended for them. */
  joinWindowMs: number;
  /** After so long without a word a member is lost. */
  detectionMs: number;
  /** How long the step at hand may take once the members were told to pause after it. */
  pauseMs: number;
  /** How long a member may take to give an exchange up. */
  abandonMs: number;
  /** A node with so many failures within `failureWindowMs` is left out. */
  maxFailures: number;
  failureWindowMs: number;
  /** Shares follow measured speed, and are revised where that pays. */
  balance: boolean;
}

export type Decision =
  | { do: 'nothing'; reason: string }
  /** This member is lost. */
  | { do: 'drop'; id: string; reason: string }
  /** This member is out of the generation and wants to leave: it may. */
  | { do: 'release'; id: string }
  | { do: 'pause' | 'abandon'; reason: string }
  | { do: 'begin'; generation: Generation }
  /** The run can't go on. */
  | { do: 'fail'; reason: string };

/** Generations in a row without a step or a loss after which the run is given up. */
const MAX_BARREN = 6;
/** ms that the next generation waits after a barren one, doubled with each. */
const BARREN_WAIT_MS = 200;

/**
 * What is to be done now: a function of time, members and options alone. Whoever asks does what is answered, tells
 * `applyEvent`, and asks again until the answer is `nothing`; then at the next event, or a little later.
 */
export function decide(nowMs: number, state: MembershipState, options: MembershipOptions): Decision {
  const silent = state.members.find((member) => nowMs - member.lastHeardMs > options.detectionMs);
  if (silent) return { do: 'drop', id: silent.id, reason: `${silent.id} was not heard of for ${((nowMs - silent.lastHeardMs) / 1000).toFixed(1)} s` };
  const leaver = state.members.find((member) => member.leaving && member.state === 'waiting');
  if (leaver) return { do: 'release', id: leaver.id };
  return state.generation === null ? decideBetween(nowMs, state, options) : decideDuring(nowMs, state, state.generation, options);
}

/** While a generation trains, or is being ended. */
function decideDuring(nowMs: number, state: MembershipState, generation: Generation, options: MembershipOptions): Decision {
  const { ending } = state;
  if (ending?.kind === 'abandon') {
    const stuck = nowMs - ending.sinceMs > options.abandonMs ? state.members.find((member) => member.state === 'training') : undefined;
    return stuck ? { do: 'drop', id: stuck.id, reason: `${stuck.id} did not give the exchange up` } : { do: 'nothing', reason: `generation ${generation.number} is given up: ${ending.reason}` };
  }
  if (ending !== null) return nowMs - ending.sinceMs > options.pauseMs ? { do: 'abandon', reason: `${ending.reason}; the step took too long` } : { do: 'nothing', reason: `generation ${generation.number} ends after this step: ${ending.reason}` };
  const leaver = state.members.find((member) => member.leaving && member.state === 'training');
  if (leaver) return { do: 'pause', reason: `${leaver.id} leaves` };
  const joiners = state.members.filter((member) => member.state === 'waiting' && !generation.members.includes(member.id) && isFit(nowMs, member, state, options));
  const room = Math.min(options.maxWorldSize, options.batchSize) - generation.members.length;
  if (joiners.length > 0 && room > 0 && (joiners.length >= room || windowIsOver(nowMs, joiners, options))) return { do: 'pause', reason: joinReason(joiners) };
  const better = options.balance ? betterSplit(generation.split, generation.members.map((id) => state.members.find((member) => member.id === id)!), options.batchSize, state.revisions) : null;
  if (better) return { do: 'pause', reason: `shares follow speed: ${generation.split.join(', ')} become ${better.join(', ')}` };
  return { do: 'nothing', reason: 'training' };
}

/** While there is no generation. */
function decideBetween(nowMs: number, state: MembershipState, options: MembershipOptions): Decision {
  if (state.barren >= MAX_BARREN) return { do: 'fail', reason: `${state.barren} generations in a row ended without a step, though no worker was lost. The workers can't exchange gradients: see the last fault` };
  const fit = state.members.filter((member) => isFit(nowMs, member, state, options));
  if (fit.length < options.minWorldSize) return { do: 'nothing', reason: `waiting for workers: ${fit.length} of at least ${options.minWorldSize} are here` };
  if (!fit.some((member) => member.seesRunDirectory)) return { do: 'nothing', reason: 'waiting for a worker that can write into the run directory' };
  if (state.barren > 0 && nowMs - state.endedMs < BARREN_WAIT_MS * 2 ** (state.barren - 1)) return { do: 'nothing', reason: 'waiting a little before the next try' };
  const wanted = Math.min(options.maxWorldSize, options.batchSize);
  // Survivors go on at once; who comes to an idle run is gathered first.
  if (fit.length < wanted && !fit.some((member) => member.inMemory) && !windowIsOver(nowMs, fit, options)) return { do: 'nothing', reason: `gathering workers: ${fit.length} of up to ${wanted} are here` };
  return { do: 'begin', generation: makeGeneration(state, fit, wanted, options) };
}

/** Members may take part that don't want to leave and whose node doesn't keep failing. */
function isFit(nowMs: number, { leaving, node }: Member, state: MembershipState, options: MembershipOptions): boolean {
  return !leaving && !isExcluded(node, state, nowMs, options);
}

/** Whether a node failed so often of late that it is left out. */
export function isExcluded(node: string, { failures }: Pick<MembershipState, 'failures'>, nowMs: number, { maxFailures, failureWindowMs }: Pick<MembershipOptions, 'maxFailures' | 'failureWindowMs'>): boolean {
  return (failures[node] ?? []).filter((atMs) => nowMs - atMs < failureWindowMs).length >= maxFailures;
}

function windowIsOver(nowMs: number, members: readonly Member[], { joinWindowMs }: MembershipOptions): boolean {
  return members.some((member) => nowMs - member.waitingSinceMs >= joinWindowMs);
}

function makeGeneration(state: MembershipState, fit: readonly Member[], wanted: number, { batchSize, balance }: MembershipOptions): Generation {
  const members = choose(fit, wanted).sort((a, b) => Number(b.seesRunDirectory) - Number(a.seesRunDirectory) || a.order - b.order);
  const newest = members.reduce((best, member) => (isNewer(member, best) ? member : best));
  const split = (balance ? splitBySpeed(batchSize, members.map(({ speed }) => speed)) : null) ?? evenSplit(batchSize, members.length);
  return { number: state.number + 1, members: members.map(({ id }) => id), split, holder: members.indexOf(newest), start: newest.progress, reason: state.number === 0 ? 'the run begins' : state.endReason || 'workers are here' };
}

/** Those who take part, where not all can: the newest state, then who came first; one of them can write into the run directory. */
function choose(fit: readonly Member[], wanted: number): Member[] {
  const ranked = fit.toSorted((a, b) => (isNewer(a, b) ? -1 : isNewer(b, a) ? 1 : a.order - b.order));
  const chosen = ranked.slice(0, wanted);
  if (chosen.some((member) => member.seesRunDirectory)) return chosen;
  const writer = ranked.find((member) => member.seesRunDirectory)!;
  // With room for one alone it is the writer, which goes on from its own state.
  return [...chosen.slice(0, wanted - 1), writer];
}

const isNewer = (a: Member, b: Member): boolean => compareProgress(a.progress, b.progress) > 0 || (compareProgress(a.progress, b.progress) === 0 && a.inMemory && !b.inMemory);

const joinReason = (joiners: readonly Member[]): string => `${joiners.map(({ id }) => id).join(', ')} ${joiners.length === 1 ? 'joins' : 'join'}`;
