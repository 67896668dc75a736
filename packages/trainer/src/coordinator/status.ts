import type { Run, WorkerStatus } from '../generated/chameleon/trainer/v1/trainer.js';
import type { Member } from '../membership/membership.js';
import type { Coordinator, Session } from './coordinator.js';
import { findStraggler } from './straggler.js';

/** The run as people and tools see it. */
export function describeRun(coordinator: Coordinator, nowMs: number): Run {
  const { parts, membership, sessions, restarts, detail } = coordinator;
  const workers = [...sessions.values()].map((session) => describeWorker(session, coordinator, nowMs));
  const training = workers.filter((worker) => worker.rank >= 0);
  return {
    runId: parts.run.id,
    runDirectory: parts.run.path,
    state: coordinator.state === 'open' ? (membership.generation ? 'training' : 'waiting') : coordinator.state,
    detail,
    generation: membership.number,
    position: { step: parts.log.step, epoch: parts.log.epochs },
    stepCount: parts.stepCount,
    epochs: parts.config.epochs,
    workers,
    restarts,
    settings: coordinator.changes.describe(),
    straggler: findStraggler(training.map(({ workerId, phaseSeconds }) => ({ worker: workerId, seconds: phaseSeconds }))),
  };
}

function describeWorker({ hello, heartbeat, ready, stage }: Session, { membership }: Coordinator, nowMs: number): WorkerStatus {
  const member: Member | undefined = membership.members.find(({ id }) => id === hello.workerId);
  const training = member?.state === 'training';
  return {
    workerId: hello.workerId,
    node: hello.node,
    address: ready?.address ?? '',
    state: stage === 'joining' ? 'joining' : stage === 'stale' || (training && membership.ending) ? 'ending' : training ? 'training' : 'waiting',
    rank: training ? membership.generation!.members.indexOf(hello.workerId) : -1,
    position: heartbeat?.position ?? ready?.position,
    phase: heartbeat?.phase ?? '',
    samples: heartbeat?.samples ?? 0,
    silentMs: member ? Math.max(0, Math.round(nowMs - member.lastHeardMs)) : 0,
    phaseSeconds: heartbeat?.phaseSeconds ?? {},
    cores: ready?.cores ?? '',
  };
}
