import { resolve } from 'node:path';
import { UserError } from '@chameleon/core';
import { status } from '@grpc/grpc-js';
import type { TrainConfig } from '../config.js';
import type { NewEvent } from '../events.js';
import { type Ended, Ended_Reason, type Hello, type Heartbeat, type Ready, type Run } from '../generated/chameleon/trainer/v1/trainer.js';
import type { Change } from '../live/change.js';
import { toWire } from '../live/wire.js';
import { type Decision, type MembershipOptions, decide } from '../membership/decide.js';
import { type Generation, type MembershipEvent, type MembershipState, type Progress, EMPTY, applyEvent } from '../membership/membership.js';
import type { RunDirectory } from '../run-directory.js';
import type { Timing } from '../timing.js';
import { requireFit } from './admission.js';
import { ChangeRegister } from './change-register.js';
import { type FromWorker, Refusal, type ToWorker, type WorkerLink } from './protocol.js';
import { type RunLog, parseFact } from './run-log.js';
import { type CoordinatorState, writeState } from './state-file.js';
import { describeRun } from './status.js';
import { busySeconds } from './straggler.js';

/** A worker that has a stream. */
export interface Session {
  readonly hello: Hello;
  readonly link: WorkerLink;
  /** `stale`: it still trains in a generation that is over, and was told so. */
  stage: 'joining' | 'stale' | 'member';
  ready: Ready | null;
  heartbeat: Heartbeat | null;
  /** It said that it leaves, or it may. */
  polite: boolean;
  /** What it did in a generation that the others had left: counts if they take its state over. */
  untold: readonly string[];
}

export interface CoordinatorParts {
  config: TrainConfig;
  run: RunDirectory;
  log: RunLog;
  classes: string[];
  stepCount: number;
  welcome: { configJson: string; configSha256: string; manifestSha256: string; exchange: string; weightsSha256: string; weightsBytes: number; shardsSha256: string; shardsBytes: number };
  membership: MembershipOptions;
  timing: Timing;
  onHeartbeat?: (worker: string, heartbeat: Heartbeat) => void;
  /** What was known before this process, or null. */
  recovered: CoordinatorState | null;
  now?: () => number;
}

export interface CoordinatorOutcome {
  path: string;
  id: string;
  classes: string[];
  step: number;
  reason: 'done' | 'stopped early' | 'interrupted';
  /** Of the last epoch; NaN when none was finished. */
  validAccuracy: number;
}

/** What workers get beside the detection time to come back to a coordinator that was started again. */
const RETURN_MS = 5_000;
/** How long a stopped run waits for workers that could leave a checkpoint. */
const STOP_WAIT_MS = 5_000;

/**
 * One run, held together: who takes part is decided by `decide`; this does what it says. It knows streams and files, but no
 * sockets.
 */
export class Coordinator {
  readonly outcome: Promise<CoordinatorOutcome>;
  readonly sessions = new Map<string, Session>();
  membership: MembershipState = EMPTY;
  restarts: number;
  readonly changes: ChangeRegister;
  /** `ended`: all is written down. */
  state: 'open' | 'stopping' | 'ended' = 'open';
  detail = '';
  readonly #startedMs: number;
  readonly #now: () => number;
  readonly #watchers = new Set<(run: Run) => void>();
  readonly #timer: NodeJS.Timeout;
  #settle!: { resolve: (outcome: CoordinatorOutcome) => void; reject: (error: Error) => void };
  #concluding = false;
  #stoppedMs = 0;
  #tickMs: number;
  #abandoned = 0;
  /** The last generation, as the state file has it. */
  #written: CoordinatorState['generation'];

  constructor(readonly parts: CoordinatorParts) {
    this.#now = parts.now ?? (() => performance.now());
    this.#tickMs = this.#startedMs = this.#now();
    this.restarts = parts.recovered?.restarts ?? 0;
    this.#written = parts.recovered?.generation ?? null;
    this.changes = new ChangeRegister(parts.config, parts.log, parts.recovered?.changes ?? []);
    if (parts.recovered) this.membership = recoverMembership(parts.recovered, this.#startedMs);
    this.outcome = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.outcome.catch(() => undefined);
    this.#timer = setInterval(() => this.#tick(), Math.max(20, parts.timing.detectionMs / 30));
  }

  /** Lets a worker in, or throws why not. */
  connect(hello: Hello, link: WorkerLink): Session {
    const { run, welcome, membership } = this.parts;
    requireFit(hello, { runId: run.id, configSha256: welcome.configSha256, over: this.#concluding ? this.detail : null, failures: this.membership.failures, membership, nowMs: this.#now() });
    const earlier = this.sessions.get(hello.workerId);
    if (earlier) {
      if (hello.runId === '') throw new Refusal(status.ALREADY_EXISTS, `A worker called ${hello.workerId} is in this run already. Give this one another name with --id, or wait until the other is gone.`);
      earlier.link.close(new Refusal(status.ABORTED, 'The same worker came back on another stream.'));
      this.disconnected(earlier);
    }
    const session: Session = { hello, link, stage: 'joining', ready: null, heartbeat: null, polite: false, untold: [] };
    this.sessions.set(hello.workerId, session);
    link.send({ $case: 'welcome', value: { ...welcome, runId: run.id, runDirectory: resolve(run.path), detectionMs: this.parts.timing.detectionMs } });
    return session;
  }

  receive(session: Session, message: FromWorker): void {
    if (this.sessions.get(session.hello.workerId) !== session || this.#concluding) return;
    switch (message.$case) {
      case 'hello':
        throw new Refusal(status.INVALID_ARGUMENT, 'A worker says hello once.');
      case 'ready':
        this.#receiveReady(session, message.value);
        break;
      case 'heartbeat':
        this.#receiveHeartbeat(session, message.value);
        break;
      case 'facts':
        this.#receiveFacts(session, message.value.generation, message.value.json);
        break;
      case 'ended':
        this.#receiveEnded(session, message.value);
        break;
      case 'leaving':
        this.#receiveLeaving(session, message.value);
        break;
      default:
        message satisfies never;
    }
    this.#advance();
  }

  /** A worker's stream is no more. */
  disconnected(session: Session): void {
    const id = session.hello.workerId;
    if (this.sessions.get(id) !== session) return;
    this.sessions.delete(id);
    if (this.#concluding || session.stage !== 'member') return;
    this.#lose(id, session.polite, `the stream of ${id} broke`);
    this.#advance();
  }

  /** Ends the run after the step at hand, with a checkpoint. */
  stop(reason: string): void {
    if (this.#concluding || this.state === 'stopping') return;
    this.state = 'stopping';
    this.#stoppedMs = this.#now();
    this.parts.log.append({ type: 'command', command: 'stop', detail: { reason } });
    if (this.membership.generation) this.#apply({ type: 'ending', kind: 'pause', reason });
    this.#tellGeneration((number) => ({ $case: 'pause', value: { generation: number, stop: true } }));
    this.#advance();
  }

  /** Asks rank 0's generation for a checkpoint after the step at hand. */
  checkpoint(): void {
    this.parts.log.append({ type: 'command', command: 'checkpoint', detail: {} });
    const { generation } = this.membership;
    if (!generation) throw new Refusal(status.FAILED_PRECONDITION, `Nobody trains at the moment (${this.detail}), so there is no new state to write.`);
    this.sessions.get(generation.members[0]!)?.link.send({ $case: 'checkpoint', value: { generation: generation.number } });
  }

  /** Changes a setting of the live run: written down, then told to the ranks, which take it after one step. Once more with the same `requestId` is the same as once. */
  change(requestId: string, change: Change): void {
    if (this.#concluding || this.state !== 'open') throw new Refusal(status.FAILED_PRECONDITION, `The run ${this.parts.run.id} is ${this.state === 'stopping' ? 'being stopped' : `over (${this.detail})`}: nothing of it can be changed any more.`);
    if (!this.changes.ask(requestId, change)) return;
    this.#persist();
    const { kind, ...detail } = change;
    this.parts.log.append({ type: 'command', command: kind, detail });
    this.#tellGeneration(() => this.#changesMessage());
    this.#changed();
  }

  /** Calls back with each change of the run; gives what ends that. */
  watch(listener: (run: Run) => void): () => void {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  describe(): Run {
    return describeRun(this, this.#now());
  }

  /** Forgets all streams at once; for the end of the process. */
  close(): void {
    clearInterval(this.#timer);
    for (const { link } of this.sessions.values()) link.close();
    this.sessions.clear();
  }

  #receiveReady(session: Session, ready: Ready): void {
    const { workerId, generation } = session.hello;
    session.ready = ready;
    const current = this.membership.generation;
    if (generation !== 0 && current?.number === generation && this.membership.members.some(({ id, state }) => id === workerId && state === 'training')) {
      session.stage = 'member';
      this.#apply({ type: 'return', id: workerId });
      session.link.send(this.#changesMessage());
    } else if (generation !== 0) {
      session.stage = 'stale';
      session.link.send({ $case: 'abandon', value: { generation, reason: 'the others went on without this worker' } });
    } else {
      this.#join(session, ready);
    }
  }

  #join(session: Session, { address, port, seesRunDirectory, position, inMemory }: Ready): void {
    const { workerId, node } = session.hello;
    session.stage = 'member';
    this.#apply({ type: 'join', member: { id: workerId, node, address, port, seesRunDirectory, inMemory, progress: position ?? { step: 0, epoch: 0 } } });
  }

  #receiveHeartbeat(session: Session, heartbeat: Heartbeat): void {
    const moved = heartbeat.position?.step !== session.heartbeat?.position?.step;
    session.heartbeat = heartbeat;
    this.parts.onHeartbeat?.(session.hello.workerId, heartbeat);
    session.link.send({ $case: 'heartbeatAck', value: {} });
    if (session.stage !== 'member') return;
    const { generation } = this.membership;
    const rank = generation?.members.indexOf(session.hello.workerId) ?? -1;
    const busy = busySeconds({ seconds: heartbeat.phaseSeconds });
    const speed = moved && generation && rank >= 0 && heartbeat.generation === generation.number && busy > 0 ? Math.max(1, generation.split[rank]!) / busy : null;
    const progress = heartbeat.generation === generation?.number && heartbeat.position ? { progress: heartbeat.position } : {};
    this.#apply({ type: 'heard', id: session.hello.workerId, speed, ...progress });
  }

  /** Facts of a generation that is over count no more: its steps are done again. */
  #receiveFacts(session: Session, number: number, json: readonly string[]): void {
    const { generation } = this.membership;
    if (session.stage !== 'member' || generation?.number !== number) return;
    const steps = this.parts.log.tell(json, generation.members[0] === session.hello.workerId);
    if (steps.length > 0) this.#changed();
  }

  #receiveEnded(session: Session, ended: Ended): void {
    const { workerId } = session.hello;
    const progress = ended.position ?? { step: 0, epoch: 0 };
    if (session.stage === 'stale') {
      session.untold = ended.recentFactsJson;
      return this.#join(session, { ...session.ready!, port: ended.port, position: progress, inMemory: true });
    }
    this.#receiveFacts(session, ended.generation, ended.recentFactsJson);
    const { generation } = this.membership;
    if (generation?.number !== ended.generation) return;
    if (ended.reason === Ended_Reason.FAILED) return this.#fail(ended.detail);
    const fault = ended.reason === Ended_Reason.ABANDONED && this.membership.ending?.kind !== 'abandon';
    if (fault) this.#fault(`${workerId}: ${ended.detail}`);
    this.#apply({ type: 'ended', id: workerId, generation: ended.generation, progress, port: ended.port, fault, reason: `${workerId} lost the exchange` });
    const finish = ended.finishJson === '' ? null : parseFact(ended.finishJson);
    if (finish?.type === 'finish') return this.#finish(finish);
    // Another rank's vote may end rank 0's step before it hears itself that the pause is the run's end: its checkpoint is left all the same.
    if (this.state === 'stopping' && ended.reason === Ended_Reason.PAUSED && generation.members[0] === workerId) this.#finish({ type: 'finish', step: progress.step, validAccuracy: Number.NaN, seconds: 0, reason: 'interrupted' });
  }

  #receiveLeaving(session: Session, { reason, unfit }: { reason: string; unfit: boolean }): void {
    const { workerId } = session.hello;
    if (unfit) {
      this.#fault(`${workerId} can't take part: ${reason}`);
      this.sessions.delete(workerId);
      if (session.stage === 'member') this.#lose(workerId, false, `${workerId} failed`);
      return session.link.close();
    }
    session.polite = true;
    if (session.stage === 'member') return this.#apply({ type: 'leaving', id: workerId });
    this.#release(session, 'left');
  }

  #tick(): void {
    const nowMs = this.#now();
    // This process itself was held up: nobody could be heard.
    if (nowMs - this.#tickMs > this.parts.timing.detectionMs / 2) for (const { id } of this.membership.members) this.#apply({ type: 'heard', id });
    this.#tickMs = nowMs;
    this.#advance();
  }

  /** Does what is decided until there is nothing more to do. */
  #advance(): void {
    for (let again = true; again && !this.#concluding; ) again = this.#carryOut(decide(this.#now(), this.membership, this.parts.membership));
  }

  #carryOut(decision: Decision): boolean {
    switch (decision.do) {
      case 'nothing':
        if (this.detail !== decision.reason) {
          this.detail = decision.reason;
          this.#changed();
        }
        if (this.state === 'stopping' && !this.membership.generation && this.#now() - this.#stoppedMs > STOP_WAIT_MS) this.#finish({ type: 'finish', step: this.parts.log.step, validAccuracy: Number.NaN, seconds: 0, reason: 'interrupted' });
        return false;
      case 'drop': {
        const session = this.sessions.get(decision.id);
        this.sessions.delete(decision.id);
        this.#lose(decision.id, false, decision.reason);
        session?.link.close(new Refusal(status.ABORTED, decision.reason));
        return true;
      }
      case 'release': {
        const session = this.sessions.get(decision.id);
        this.#apply({ type: 'gone', id: decision.id, polite: true, reason: `${decision.id} left` });
        if (session) this.#release(session, 'left');
        return true;
      }
      case 'pause':
      case 'abandon':
        this.#apply({ type: 'ending', kind: decision.do, reason: decision.reason });
        if (decision.do === 'pause') this.#tellGeneration((number) => ({ $case: 'pause', value: { generation: number, stop: false } }));
        return true;
      case 'begin':
        this.#begin(decision.generation);
        return true;
      case 'fail':
        this.#fail(`${decision.reason}.`);
        return false;
      default:
        return decision satisfies never;
    }
  }

  /** Writes a generation down, then tells its members. */
  #begin(generation: Generation): void {
    const { number, members, split, holder, start, reason } = generation;
    this.#apply({ type: 'begun', generation });
    const ranks = members.map((id) => this.membership.members.find((member) => member.id === id)!);
    this.#written = { members: ranks.map(({ id, node, address, port, seesRunDirectory }) => ({ id, node, address, port, seesRunDirectory })), split: [...split], holder, start, reason };
    this.#persist();
    const { log } = this.parts;
    this.#tellUntold(ranks[holder]!.id, start);
    log.rewind(start);
    log.append({ type: 'generation', generation: number, step: start.step, epoch: start.epoch, workers: [...members], split: [...split], reason });
    const shared = { number, members: ranks.map(({ id, node, address }) => ({ workerId: id, node, address })), split: [...split], holder, start, meetingHost: ranks[0]!.address, meetingPort: ranks[0]!.port, reason, changes: toWire(this.changes.asked) };
    ranks.forEach(({ id }, rank) => this.sessions.get(id)?.link.send({ $case: 'generation', value: { ...shared, rank } }));
    if (this.state === 'stopping') {
      this.#apply({ type: 'ending', kind: 'pause', reason: 'the run is stopped' });
      this.#tellGeneration(() => ({ $case: 'pause', value: { generation: number, stop: true } }));
    }
    this.#changed();
  }

  /** The state that all take over may come from a worker that went on while nobody could hear it: what it did there was done. */
  #tellUntold(holder: string, { step }: Progress): void {
    const { log } = this.parts, session = this.sessions.get(holder);
    if (session) {
      log.tell(session.untold, false);
      session.untold = [];
    }
    if (log.step < step) this.#fault(`${holder} holds the state after step ${step}, but nobody could tell of the steps from ${log.step + 1} on`);
  }

  #apply(event: MembershipEvent): void {
    this.membership = applyEvent(this.membership, event, this.#now());
    const { ending, generation } = this.membership;
    if (ending?.kind !== 'abandon' || !generation || this.#abandoned === generation.number) return;
    this.#abandoned = generation.number;
    this.#tellGeneration((number) => ({ $case: 'abandon', value: { generation: number, reason: ending.reason } }));
    this.#changed();
  }

  #lose(id: string, polite: boolean, reason: string): void {
    if (!polite) {
      this.restarts++;
      this.#fault(reason);
    }
    this.#apply({ type: 'gone', id, polite, reason });
    this.#changed();
  }

  #release(session: Session, reason: string): void {
    this.sessions.delete(session.hello.workerId);
    session.link.send({ $case: 'shutdown', value: { reason, failed: false } });
    session.link.close();
  }

  /** To those who train in the current generation. */
  #tellGeneration(message: (number: number) => ToWorker): void {
    const { generation, members } = this.membership;
    if (!generation) return;
    for (const member of members) if (member.state === 'training') this.sessions.get(member.id)?.link.send(message(generation.number));
  }

  #changesMessage(): ToWorker {
    return { $case: 'changes', value: { changes: toWire(this.changes.asked) } };
  }

  #fault(message: string): void {
    this.parts.log.append({ type: 'fault', message });
  }

  #finish(fact: Extract<NewEvent, { type: 'finish' }>): void {
    if (this.#concluding) return;
    const seconds = (this.#now() - this.#startedMs) / 1000;
    this.parts.log.append({ ...fact, seconds });
    const { run, classes } = this.parts;
    void this.#conclude(fact.reason, false, () => this.#settle.resolve({ path: run.path, id: run.id, classes, step: fact.step, reason: fact.reason, validAccuracy: fact.validAccuracy }));
  }

  #fail(reason: string): void {
    if (this.#concluding) return;
    this.#fault(reason);
    void this.#conclude(reason, true, () => this.#settle.reject(new UserError(reason)));
  }

  /** Once, and only when all is on the disk. */
  async #conclude(detail: string, failed: boolean, settle: () => void): Promise<void> {
    this.#concluding = true;
    this.detail = detail;
    clearInterval(this.#timer);
    try {
      await this.parts.log.flush();
      this.membership = { ...this.membership, generation: null };
      this.#written = null;
      this.#persist(!failed && detail !== 'interrupted');
      this.state = 'ended';
      this.#changed();
      for (const { link } of this.sessions.values()) link.send({ $case: 'shutdown', value: { reason: detail, failed } });
      settle();
    } catch (error) {
      this.#settle.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #persist(finished = false): void {
    writeState(this.parts.run.path, { number: this.membership.number, generation: this.#written, restarts: this.restarts, finished, changes: this.changes.recorded });
  }

  #changed(): void {
    if (this.#watchers.size === 0) return;
    const run = this.describe();
    for (const listener of this.#watchers) listener(run);
  }
}

/** Who was training when the coordinator was lost is counted as training until it is silent for too long. */
function recoverMembership({ number, generation }: CoordinatorState, nowMs: number): MembershipState {
  if (!generation) return { ...EMPTY, number };
  const { members, split, holder, start, reason } = generation;
  const known = members.map((facts, order) => ({ ...facts, order, progress: start, inMemory: true, state: 'training' as const, lastHeardMs: nowMs + RETURN_MS, waitingSinceMs: nowMs, leaving: false, speed: null, readings: 0 }));
  return { ...EMPTY, number, joins: known.length, members: known, generation: { number, members: members.map(({ id }) => id), split, holder, start, reason } };
}
