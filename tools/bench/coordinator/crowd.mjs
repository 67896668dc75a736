import { PROTOCOL } from '../../../packages/trainer/dist/coordinator/protocol.js';
import { channelCredentials, tokenMetadata } from '../../../packages/trainer/dist/coordinator/security.js';
import { connect } from '../../../packages/trainer/dist/worker/connection.js';
import { Ended_Reason } from '../../../packages/trainer/dist/generated/chameleon/trainer/v1/trainer.js';
import { VERSION } from '@chameleon/trainer';
import { codeDigest } from '../../../packages/trainer/dist/code-digest.js';
import { serveCalls } from '../distributed/processes.mjs';

/** Workers that hold a stream each and compute nothing: they take a generation, and give it up when told to. */
const HEARTBEAT_MS = 1_000, DEADLINE_MS = 120_000;
const crowd = [];
/** The newest generation that each has been told of. */
const told = new Map();
let whenTold = () => undefined;

serveCalls({
  async join({ port, workers }) {
    const credentials = await channelCredentials(null);
    for (let i = 0; i < workers; i++) {
      const workerId = `worker-${i}`;
      const hello = { protocol: PROTOCOL, version: VERSION, codeSha256: codeDigest(), workerId, node: `node-${i}`, runId: '', configSha256: '', generation: 0 };
      const connection = await connect({ host: '127.0.0.1', port, credentials, metadata: tokenMetadata(null) }, hello, { patienceMs: 30_000, signal: AbortSignal.timeout(DEADLINE_MS) });
      crowd.push(live(connection, workerId));
    }
    await allKnow(Math.max(1, newest()));
  },
  /** Cuts one off; ms until all the others know the next generation. */
  async kill() {
    const victim = crowd.pop(), before = newest(), start = performance.now();
    told.delete(victim.workerId);
    victim.die();
    await allKnow(before + 1);
    return performance.now() - start;
  },
});

function live(connection, workerId) {
  let generation = 0;
  const position = { step: 0, epoch: 0 };
  const beat = () => connection.send({ $case: 'heartbeat', value: { generation, position, phase: 'forward', samples: 0, phaseSeconds: { data: 0.01, forward: 0.1, backward: 0.2, exchange: 0.05, optimizer: 0.01 }, memoryBytes: 2 ** 30, gpus: [] } });
  const timer = setTimeout(() => void (beat(), (interval = setInterval(beat, HEARTBEAT_MS))), Math.random() * HEARTBEAT_MS);
  let interval;
  const stop = () => void (clearTimeout(timer), clearInterval(interval));
  const end = (reason) => connection.send({ $case: 'ended', value: { generation, reason, detail: 'told to', position, port: 4001, finishJson: '', recentFactsJson: [] } });
  connection.listen((message) => {
    if (message.$case === 'generation') {
      generation = Number(message.value.number);
      told.set(workerId, generation);
      whenTold();
    } else if (message.$case === 'abandon') end(Ended_Reason.ABANDONED);
    else if (message.$case === 'pause') end(Ended_Reason.PAUSED);
  }, stop);
  connection.send({ $case: 'ready', value: { address: '127.0.0.1', port: 4000, seesRunDirectory: true, position, inMemory: false, cores: '' } });
  return { workerId, die: () => void (stop(), connection.close()) };
}

const newest = () => Math.max(0, ...told.values());

/** Until every worker of the crowd has been told of a generation of this number or a later one. */
function allKnow(number) {
  return new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error(`only ${[...told.values()].filter((known) => known >= number).length} of ${crowd.length} workers heard of generation ${number}`)), DEADLINE_MS);
    whenTold = () => {
      if (crowd.some(({ workerId }) => (told.get(workerId) ?? 0) < number)) return;
      clearTimeout(deadline);
      whenTold = () => undefined;
      resolve();
    };
    whenTold();
  });
}
