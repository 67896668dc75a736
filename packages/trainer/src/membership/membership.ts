import { withReading } from './rebalance.js';
import type { Split } from './split.js';

/**
 * Who takes part in a run, as a state and the facts that change it. No clock, socket or file is in here: whoever calls says
 * what time it is, in ms of any clock that only goes forward. What is to be done about a state is decided in `decide.ts`.
 */

/** How far a state of the training is. A later epoch at the same step is newer: validation is done. */
export interface Progress {
  step: number;
  epoch: number;
}

export const compareProgress = (a: Progress, b: Progress): number => a.step - b.step || a.epoch - b.epoch;

export interface MemberFacts {
  /** Names the worker. */
  id: string;
  /** What fails together; failures are counted by node. */
  node: string;
  address: string;
  /** Free on `address`, for a meeting point. */
  port: number;
  /** Whether it can write into the run directory, as rank 0 must. */
  seesRunDirectory: boolean;
  /** The newest state that it can bring into a generation. */
  progress: Progress;
  /** Whether that state is in memory: else it is a checkpoint's, or the run's start. */
  inMemory: boolean;
}

export interface Member extends MemberFacts {
  /** `training`: in the current generation; `waiting`: in none. */
  state: 'waiting' | 'training';
  /** Counts joins: who came later stands behind. */
  order: number;
  lastHeardMs: number;
  waitingSinceMs: number;
  /** Will leave at the next occasion, politely. */
  leaving: boolean;
  /** Pictures a second that it computes, waits left out; null before it is known. */
  speed: number | null;
  /** Readings of its speed in the current generation. */
  readings: number;
}

export interface Generation {
  number: number;
  /** Ids in order of rank. */
  members: readonly string[];
  split: Split;
  /** The rank whose state all take over. */
  holder: number;
  start: Progress;
  reason: string;
}

/** How a generation is being brought to its end. */
export interface Ending {
  kind: 'pause' | 'abandon';
  reason: string;
  sinceMs: number;
}

export interface MembershipState {
  members: readonly Member[];
  generation: Generation | null;
  ending: Ending | null;
  /** The last generation's number; 0 before the first. */
  number: number;
  joins: number;
  /** When each node failed, in ms. */
  failures: Readonly<Record<string, readonly number[]>>;
  /** Generations in a row that ended without a step or a loss: something keeps them from working. */
  barren: number;
  /** When the last generation ended, and why. */
  endedMs: number;
  endReason: string;
  /** Whether a member of the current generation was lost in it. */
  lostOne: boolean;
  /** Of the last generation. */
  lastMembers: readonly string[];
  /** Generations in a row that had the same members as the one before: how often their shares were revised. */
  revisions: number;
}

export const EMPTY: MembershipState = { members: [], generation: null, ending: null, number: 0, joins: 0, failures: {}, barren: 0, endedMs: Number.NEGATIVE_INFINITY, endReason: '', lostOne: false, lastMembers: [], revisions: 0 };

export type MembershipEvent =
  /** A worker has proved itself and waits. One that is known by its id is replaced: its old self is lost. */
  | { type: 'join'; member: MemberFacts }
  /** A worker came back while it trains in the current generation: the coordinator was away, not the worker. */
  | { type: 'return'; id: string }
  | { type: 'heard'; id: string; progress?: Progress; speed?: number | null }
  /** It has stopped computing in the current generation. */
  | { type: 'ended'; id: string; generation: number; progress: Progress; port: number; fault: boolean; reason: string }
  | { type: 'leaving'; id: string }
  /** Its stream broke, or it was silent for too long, or left. `polite`: it had said so. */
  | { type: 'gone'; id: string; polite: boolean; reason: string }
  | { type: 'begun'; generation: Generation }
  | { type: 'ending'; kind: Ending['kind']; reason: string };

/** The state after an event. An event that speaks of somebody unknown, or of an old generation, changes nothing. */
export function applyEvent(state: MembershipState, event: MembershipEvent, nowMs: number): MembershipState {
  switch (event.type) {
    case 'join':
      return joined(state.members.some(({ id }) => id === event.member.id) ? gone(state, event.member.id, false, `${event.member.id} came back as a new process`, nowMs) : state, event.member, nowMs);
    case 'return':
    case 'heard':
      return change(state, event.id, (member) => ({ ...member, lastHeardMs: nowMs, ...(event.type === 'heard' ? newer(member, event) : {}) }));
    case 'ended':
      return ended(state, event, nowMs);
    case 'leaving':
      return change(state, event.id, (member) => ({ ...member, leaving: true, lastHeardMs: nowMs }));
    case 'gone':
      return gone(state, event.id, event.polite, event.reason, nowMs);
    case 'begun':
      return begun(state, event.generation);
    case 'ending':
      // What is given up can't be brought to its end politely any more.
      return state.generation === null || state.ending?.kind === 'abandon' ? state : { ...state, ending: { kind: event.kind, reason: event.reason, sinceMs: nowMs } };
    default:
      return event satisfies never;
  }
}

function joined(state: MembershipState, facts: MemberFacts, nowMs: number): MembershipState {
  const member: Member = { ...facts, state: 'waiting', order: state.joins, lastHeardMs: nowMs, waitingSinceMs: nowMs, leaving: false, speed: null, readings: 0 };
  return { ...state, members: [...state.members, member], joins: state.joins + 1 };
}

function newer(member: Member, { progress, speed }: { progress?: Progress; speed?: number | null }): Partial<Member> {
  return { ...(progress && compareProgress(progress, member.progress) > 0 && member.state === 'training' ? { progress } : {}), ...(speed != null ? withReading(member, speed) : {}) };
}

function ended(state: MembershipState, event: Extract<MembershipEvent, { type: 'ended' }>, nowMs: number): MembershipState {
  const { generation } = state;
  const heard = change(state, event.id, (member) => ({ ...member, lastHeardMs: nowMs }));
  if (generation === null || event.generation !== generation.number) return heard;
  const after = change(heard, event.id, (member) => ({ ...member, state: 'waiting', waitingSinceMs: nowMs, progress: event.progress, inMemory: true, port: event.port }));
  // One rank that gave up breaks the generation: the others' exchange can never end.
  const broken: Ending | null = event.fault && state.ending?.kind !== 'abandon' ? { kind: 'abandon', reason: event.reason, sinceMs: nowMs } : null;
  return closeIfOver(broken ? { ...after, ending: broken } : after, nowMs);
}

function gone(state: MembershipState, id: string, polite: boolean, reason: string, nowMs: number): MembershipState {
  const member = state.members.find((one) => one.id === id);
  if (!member) return state;
  const failures = polite ? state.failures : { ...state.failures, [member.node]: [...(state.failures[member.node] ?? []), nowMs].slice(-FAILURES_KEPT) };
  const left = { ...state, members: state.members.filter((one) => one !== member), failures };
  if (member.state !== 'training') return left;
  const ending: Ending = state.ending?.kind === 'abandon' ? state.ending : { kind: 'abandon', reason, sinceMs: nowMs };
  return closeIfOver({ ...left, ending, lostOne: true }, nowMs);
}

/** Failures of a node that are remembered. */
const FAILURES_KEPT = 64;

function begun(state: MembershipState, generation: Generation): MembershipState {
  const members = state.members.map((member): Member => (generation.members.includes(member.id) ? { ...member, state: 'training', readings: 0 } : member));
  const same = state.lastMembers.length === generation.members.length && state.lastMembers.every((id) => generation.members.includes(id));
  return { ...state, members, generation, ending: null, number: generation.number, lostOne: false, lastMembers: generation.members, revisions: same ? state.revisions + 1 : 0 };
}

/** A generation is over when nobody trains in it any more. */
function closeIfOver(state: MembershipState, nowMs: number): MembershipState {
  const { generation } = state;
  if (generation === null || state.members.some((member) => member.state === 'training')) return state;
  const moved = state.members.some((member) => generation.members.includes(member.id) && compareProgress(member.progress, generation.start) > 0);
  const barren = moved || state.lostOne || state.ending?.kind !== 'abandon' ? 0 : state.barren + 1;
  return { ...state, generation: null, ending: null, barren, endedMs: nowMs, endReason: state.ending?.reason ?? '', lostOne: false };
}

function change(state: MembershipState, id: string, how: (member: Member) => Member): MembershipState {
  return { ...state, members: state.members.map((member) => (member.id === id ? how(member) : member)) };
}
