import { status } from '@grpc/grpc-js';
import { codeDigest } from '../code-digest.js';
import type { Hello } from '../generated/chameleon/trainer/v1/trainer.js';
import { VERSION } from '../machine.js';
import { type MembershipOptions, isExcluded } from '../membership/decide.js';
import type { MembershipState } from '../membership/membership.js';
import { PROTOCOL, Refusal } from './protocol.js';

/** What a worker that says hello is held against. */
export interface Admission extends Pick<MembershipState, 'failures'> {
  runId: string;
  configSha256: string;
  /** How the run ended; null while it lasts. */
  over: string | null;
  membership: Pick<MembershipOptions, 'maxFailures' | 'failureWindowMs'>;
  nowMs: number;
}

/** @throws Refusal that says why this worker can't take part in this run */
export function requireFit(hello: Hello, { runId, configSha256, over, failures, membership, nowMs }: Admission): void {
  const refuse = (message: string) => new Refusal(status.FAILED_PRECONDITION, message);
  if (hello.protocol !== PROTOCOL) throw refuse(`This worker speaks protocol ${hello.protocol}, the coordinator ${PROTOCOL}. Install the same version of Chameleon on both: the coordinator has ${VERSION}.`);
  if (hello.version !== VERSION) throw refuse(`This worker is Chameleon ${hello.version}, the coordinator ${VERSION}. Install the same version on both.`);
  if (hello.codeSha256 !== codeDigest()) throw refuse(`This worker runs another build of Chameleon ${VERSION} (${hello.codeSha256.slice(0, 12) || 'unknown'}) than the coordinator (${codeDigest().slice(0, 12)}). Install the same one on both, and start both anew.`);
  if (!/^[\w.:@/-]{1,128}$/.test(hello.workerId)) throw new Refusal(status.INVALID_ARGUMENT, `${JSON.stringify(hello.workerId.slice(0, 140))} can't be a worker's name: use 1 to 128 letters, digits and . : @ / _ -`);
  if (hello.runId !== '' && hello.runId !== runId) throw refuse(`This worker belongs to the run ${hello.runId}; this coordinator holds ${runId}. Start the worker anew.`);
  if (hello.configSha256 !== '' && hello.configSha256 !== configSha256) throw refuse(`The configuration of ${runId} is another than the one that this worker began with. Start the worker anew.`);
  if (over !== null) throw refuse(`The run ${runId} is over (${over}).`);
  if (isExcluded(hello.node, { failures }, nowMs, membership)) throw refuse(`The node ${hello.node} was lost ${failures[hello.node]!.length} times of late and is left out. Mend it, and try again in ${Math.ceil(membership.failureWindowMs / 60_000)} minutes.`);
}
