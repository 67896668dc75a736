import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Decision, type MembershipOptions, decide, isExcluded } from './decide.js';
import { EMPTY, type Generation, type MemberFacts, type MembershipEvent, type MembershipState, applyEvent, compareProgress } from './membership.js';
import { evenSplit, sliceOf, weightedSplit } from './split.js';

const options: MembershipOptions = { batchSize: 16, minWorldSize: 1, maxWorldSize: 8, joinWindowMs: 1_000, detectionMs: 3_000, pauseMs: 30_000, abandonMs: 6_000, maxFailures: 3, failureWindowMs: 600_000, balance: false };
const facts = (id: string, more: Partial<MemberFacts> = {}): MemberFacts => ({ id, node: `node-${id}`, address: '10.0.0.1', port: 4000, seesRunDirectory: true, progress: { step: 0, epoch: 0 }, inMemory: false, ...more });

/** Does what is decided, as the coordinator does, until there is nothing more to do; gives the decisions. */
function settle(state: MembershipState, nowMs: number, wanted: MembershipOptions): { state: MembershipState; made: Decision[] } {
  const made: Decision[] = [];
  for (let i = 0; i < 100; i++) {
    const decision = decide(nowMs, state, wanted);
    made.push(decision);
    switch (decision.do) {
      case 'nothing':
      case 'fail':
        return { state, made };
      case 'drop':
        state = applyEvent(state, { type: 'gone', id: decision.id, polite: false, reason: decision.reason }, nowMs);
        break;
      case 'release':
        state = applyEvent(state, { type: 'gone', id: decision.id, polite: true, reason: 'left' }, nowMs);
        break;
      case 'pause':
      case 'abandon':
        state = applyEvent(state, { type: 'ending', kind: decision.do, reason: decision.reason }, nowMs);
        break;
      case 'begin':
        state = applyEvent(state, { type: 'begun', generation: decision.generation }, nowMs);
        break;
      default:
        decision satisfies never;
    }
  }
  throw new Error('the decisions never settle');
}

/** A story: events at times, each settled. */
function play(events: [atMs: number, ...MembershipEvent[]][], given: Partial<MembershipOptions> = {}, from: MembershipState = EMPTY): { state: MembershipState; generations: Generation[]; last: Decision } {
  let state = from, last: Decision = { do: 'nothing', reason: '' };
  const generations: Generation[] = [];
  for (const [atMs, ...now] of events) {
    for (const event of now) state = applyEvent(state, event, atMs);
    const settled = settle(state, atMs, { ...options, ...given });
    state = settled.state;
    last = settled.made.at(-1)!;
    generations.push(...settled.made.flatMap((decision) => (decision.do === 'begin' ? [decision.generation] : [])));
  }
  return { state, generations, last };
}

const join = (id: string, more: Partial<MemberFacts> = {}): MembershipEvent => ({ type: 'join', member: facts(id, more) });
const ended = (id: string, generation: number, step: number, more: { fault?: boolean; epoch?: number } = {}): MembershipEvent => ({ type: 'ended', id, generation, progress: { step, epoch: more.epoch ?? 0 }, port: 4001, fault: more.fault ?? false, reason: 'the exchange broke' });
const heard = (...ids: string[]): MembershipEvent[] => ids.map((id) => ({ type: 'heard', id }));

describe('membership', () => {
  it('gathers those who come within the window, and begins at once when all are there', () => {
    expect(play([[0, join('a')], [500, join('b')]]).generations).toEqual([]);
    expect(play([[0, join('a')], [500, join('b')], [1_000]]).generations).toMatchObject([{ number: 1, members: ['a', 'b'], split: [8, 8], holder: 0, reason: 'the run begins' }]);
    expect(play([[0, join('a')], [1, join('b')]], { maxWorldSize: 2 }).generations).toHaveLength(1);
    expect(play([[0, join('a')], [2_000, ...heard('a')]], { minWorldSize: 2 }).last).toMatchObject({ do: 'nothing', reason: 'waiting for workers: 1 of at least 2 are here' });
  });

  it('tells survivors of a loss at once, and goes on from the newest state as soon as they have given up', () => {
    const started = play([[0, join('a'), join('b'), join('c')]], { maxWorldSize: 3 });
    const lost = play([[10, { type: 'gone', id: 'a', polite: false, reason: 'a died' }]], {}, started.state);
    expect(lost.state.ending).toMatchObject({ kind: 'abandon', reason: 'a died' });
    const after = play([[20, ended('b', 1, 4)], [30, ended('c', 1, 5)]], {}, lost.state);
    expect(after.generations).toMatchObject([{ number: 2, members: ['b', 'c'], holder: 1, start: { step: 5, epoch: 0 }, reason: 'a died' }]);
  });

  it('does not take a loss back when somebody stops the run at that moment', () => {
    const started = play([[0, join('a'), join('b')]], { maxWorldSize: 2 });
    const lost = play([[10, { type: 'gone', id: 'a', polite: false, reason: 'a died' }, { type: 'ending', kind: 'pause', reason: 'stopped' }]], {}, started.state);
    expect(lost.state.ending).toMatchObject({ kind: 'abandon', reason: 'a died' });
  });

  it('drops who is silent, and who does not give the exchange up', () => {
    const started = play([[0, join('a'), join('b')]], { maxWorldSize: 2 });
    const silent = play([[2_000, ...heard('a')], [3_100, ...heard('a')]], {}, started.state);
    expect(silent.state.members.map(({ id }) => id)).toEqual(['a']);
    const stuck = play([[6_000, ...heard('a')], [9_000, ...heard('a')], [9_200, ...heard('a')]], {}, silent.state);
    expect(stuck.state.members).toEqual([]);
  });

  it('ends a step politely for a joiner or a leaver, and lets the leaver go', () => {
    const started = play([[0, join('a'), join('b')]], { maxWorldSize: 2 });
    const joining = play([[100, join('c')], [1_100, ...heard('a', 'b', 'c')]], {}, started.state);
    expect(joining.state.ending).toMatchObject({ kind: 'pause', reason: 'c joins' });
    const three = play([[1_200, ended('a', 1, 7)], [1_201, ended('b', 1, 7)]], {}, joining.state);
    expect(three.generations).toMatchObject([{ number: 2, members: ['a', 'b', 'c'], split: [6, 5, 5], start: { step: 7 } }]);
    const leaving = play([[1_300, { type: 'leaving', id: 'a' }], [1_400, ended('a', 2, 9), ended('b', 2, 9), ended('c', 2, 9)]], {}, three.state);
    expect(leaving.generations).toMatchObject([{ number: 3, members: ['b', 'c'], start: { step: 9 } }]);
    expect(leaving.state.failures).toEqual({});
  });

  it('counts a node’s failures though it comes back at once, and leaves it out when there are too many', () => {
    let story = play([[0, join('a'), join('b')]], { maxWorldSize: 2 });
    for (let n = 1; n <= 3; n++) story = play([[n * 100, join('b', { node: 'node-b' })], [n * 100 + 1, ended('a', n, n)]], { maxWorldSize: 2 }, story.state);
    expect(story.state.failures['node-b']).toHaveLength(3);
    expect(isExcluded('node-b', story.state, 400, options)).toBe(true);
    expect(story.generations).toMatchObject([{ members: ['a'] }]);
    expect(isExcluded('node-b', story.state, 700_000, options)).toBe(false);
  });

  it('puts who can write the run’s files at rank 0, and waits for one', () => {
    const away = { seesRunDirectory: false };
    expect(play([[0, join('a', away), join('b')]], { maxWorldSize: 2 }).generations).toMatchObject([{ members: ['b', 'a'] }]);
    expect(play([[0, join('a', away)]], { maxWorldSize: 1 }).last).toMatchObject({ do: 'nothing', reason: 'waiting for a worker that can write into the run directory' });
  });

  it('gives a run up whose generations end again and again without a step', () => {
    let story = play([[0, join('a'), join('b')]], { maxWorldSize: 2 });
    let atMs = 0;
    for (let n = 1; story.last.do !== 'fail' && n < 20; n++) story = play([[(atMs += 10), ended('a', n, 0, { fault: true }), ended('b', n, 0, { fault: true })], ...Array.from({ length: 7 }, (_, i): [number, ...MembershipEvent[]] => [(atMs += 1_000 + i), ...heard('a', 'b')])], { maxWorldSize: 2 }, story.state);
    expect(story.last.do).toBe('fail');
    expect(story.state.barren).toBe(6);
  });

  it('shares by measured speed when asked', () => {
    const started = play([[0, join('a'), join('b')]], { maxWorldSize: 2 });
    const measured = play([[10, { type: 'heard', id: 'a', speed: 30 }, { type: 'heard', id: 'b', speed: 10 }, { type: 'ending', kind: 'pause', reason: 'balance' }], [20, ended('a', 1, 3), ended('b', 1, 3)]], { balance: true }, started.state);
    expect(measured.generations[0]!.split).toEqual([12, 4]);
  });
});

/** What may happen to a run: who, what, how long after the last. */
const happening = fc.record({ waitMs: fc.nat(2_000), who: fc.nat(5), what: fc.constantFrom('join', 'join', 'gone', 'leave', 'heard', 'silence', 'step', 'give up'), writes: fc.boolean() });

describe('over any story of joins, losses and leaves', () => {
  it('ranks are a permutation of living members, splits make up the batch, numbers grow, nothing flaps, and state is never lost', () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 120 }), fc.integer({ min: 1, max: 4 }), (story, minWorldSize) => {
        const wanted = { ...options, minWorldSize };
        let state = EMPTY, nowMs = 0, number = 0;
        const silenced = new Set<string>();
        for (const { waitMs, who, what, writes } of story) {
          nowMs += waitMs;
          const id = `w${who}`;
          const member = state.members.find((one) => one.id === id);
          const events: MembershipEvent[] = state.members.filter((one) => !silenced.has(one.id)).map((one) => ({ type: 'heard', id: one.id }));
          if (what === 'join' && (!member || writes)) {
            events.push({ type: 'join', member: facts(id, { seesRunDirectory: writes, node: `n${who}` }) });
            silenced.delete(id);
          }
          if (what === 'gone') events.push({ type: 'gone', id, polite: false, reason: 'it died' });
          if (what === 'leave') events.push({ type: 'leaving', id });
          if (what === 'silence') silenced.add(id);
          if (what === 'step' && state.generation && !state.ending) for (const one of state.members.filter((one) => one.state === 'training')) events.push({ type: 'heard', id: one.id, progress: { step: state.generation.start.step + 1, epoch: 0 } });
          if (what === 'give up' && state.generation && member?.state === 'training') events.push(ended(id, state.generation.number, member.progress.step + who % 2, { fault: state.ending === null }));
          for (const event of events) state = applyEvent(state, event, nowMs);
          const before = state;
          const settled = settle(state, nowMs, wanted);
          state = settled.state;
          for (const decision of settled.made) {
            if (decision.do !== 'begin') continue;
            const { generation } = decision;
            expect(generation.number).toBe(++number);
            expect(new Set(generation.members).size).toBe(generation.members.length);
            expect(generation.members.length).toBeGreaterThanOrEqual(minWorldSize);
            expect(generation.split.reduce((sum, share) => sum + share, 0)).toBe(wanted.batchSize);
            const living = generation.members.map((one) => state.members.find((candidate) => candidate.id === one)!);
            expect(living.every((one) => one && !one.leaving && nowMs - one.lastHeardMs <= wanted.detectionMs && !isExcluded(one.node, before, nowMs, wanted))).toBe(true);
            expect(living[0]!.seesRunDirectory).toBe(true);
            expect(living.every((one) => compareProgress(one.progress, generation.start) <= 0)).toBe(true);
            expect(living[generation.holder]!.progress).toEqual(generation.start);
          }
          // Asked again at the same moment, without an event, there is nothing more to do.
          expect(['nothing', 'fail']).toContain(decide(nowMs, state, wanted).do);
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe('a split', () => {
  const batch = fc.integer({ min: 1, max: 2_000 });
  it('gives slices that make up any batch, in order', () => {
    fc.assert(fc.property(batch, fc.integer({ min: 1, max: 40 }), fc.nat(2_000), (batchSize, worldSize, rows) => {
      const split = evenSplit(batchSize, worldSize);
      const slices = split.map((_, rank) => sliceOf(split, rank, Math.min(rows, batchSize)));
      expect(slices[0]![0]).toBe(0);
      expect(slices.at(-1)![1]).toBe(Math.min(rows, batchSize));
      slices.slice(1).forEach(([from], i) => expect(from).toBe(slices[i]![1]));
      expect(split.map((_, rank) => sliceOf(split, rank)).map(([from, to]) => to - from)).toEqual(split);
    }));
  });

  it('by weight gives everyone a picture at least and all of them together the batch', () => {
    fc.assert(fc.property(fc.array(fc.double({ min: 0.01, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 }), fc.nat(1_000), (weights, more) => {
      const split = weightedSplit(weights.length + more, weights);
      expect(split.reduce((sum, share) => sum + share, 0)).toBe(weights.length + more);
      expect(Math.min(...split)).toBeGreaterThanOrEqual(1);
      for (const [i, weight] of weights.entries()) for (const [j, other] of weights.entries()) if (weight > other) expect(split[i]!).toBeGreaterThanOrEqual(split[j]! - 1);
    }));
    expect(() => weightedSplit(2, [1, 1, 1])).toThrow(RangeError);
  });
});
