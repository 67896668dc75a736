import type { Server } from 'node:http';
import { UserError, messageOf } from '@chameleon/core';
import type { Doorkeeper } from '../http/context.js';
import { listenFor } from '../http/listener.js';
import { BodyReader } from '../http/pictures.js';
import { createLogger, type LogLevel } from '../logger.js';
import { Problem } from '../problems.js';
import { openService } from '../service.js';
import { CALLER_HEADER, type Answers, type FromReplica, type ReplicaSetup, type ToReplica } from './messages.js';

/**
 * A replica: a server like any other, on a socket that only its front reaches. The front has checked who asks, so the replica takes
 * its word. It ends when the front says so or is gone; signals that reach the whole group of processes are the front's to answer.
 */

const say = (message: FromReplica): void => void process.send?.(message);

/** Lets in whom the front names. */
const frontsWord: Doorkeeper = {
  open: false,
  admit: (headers) => ({ name: decodeURIComponent(String(headers[CALLER_HEADER] ?? '')), rights: ['classify', 'operate'] }),
};

class Replica {
  private constructor(private readonly service: ReturnType<typeof openService>, private readonly server: Server) {}

  static async start({ socketPath, service: options, logLevel, index }: ReplicaSetup): Promise<Replica> {
    const log = createLogger(logLevel as LogLevel).child({ replica: index });
    const service = openService(options, log, (rollback) => say({ kind: 'rolled-back', rollback }));
    const { limits } = options;
    // Requests are in the front's log; here only what fails is.
    const app = service.app({ gate: frontsWord, reader: new BodyReader(limits), limits, log: log.child({}, { level: logLevel === 'silent' ? 'silent' : 'error' }), requestsPerMinute: null, corsOrigins: [], tls: false, notReady: () => service.notReady(), draining: () => false });
    await service.load();
    return new Replica(service, await listenFor(app, { path: socketPath }, limits));
  }

  async answer(what: keyof Answers): Promise<Answers[keyof Answers]> {
    switch (what) {
      case 'alive':
        return true;
      case 'metrics':
        return this.service.metrics.snapshot();
      case 'models':
        return this.service.repository.state();
      default:
        return what satisfies never;
    }
  }

  rollBack(rollback: Parameters<Replica['service']['repository']['rollBack']>[0]): void {
    this.service.repository.rollBack(rollback);
  }

  async stop(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await this.service.close(new Problem('draining', 'The server is stopping.'));
  }
}

let replica: Promise<Replica> | undefined;

async function obey(message: ToReplica): Promise<void> {
  switch (message.kind) {
    case 'start':
      replica = Replica.start(message.setup);
      await replica;
      say({ kind: 'ready' });
      return;
    case 'ask':
      say({ kind: 'answer', id: message.id, value: await (await replica!).answer(message.what) });
      return;
    case 'roll-back':
      (await replica!).rollBack(message.rollback);
      return;
    case 'stop':
      await (await replica)?.stop();
      process.exit(0);
      return;
    default:
      message satisfies never;
  }
}

process.on('SIGINT', () => undefined).on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToReplica) => {
  obey(message).catch((error: unknown) => {
    const text = messageOf(error);
    process.send?.({ kind: 'refused', message: text, exitCode: error instanceof UserError ? error.exitCode : undefined } satisfies FromReplica, () => process.exit(1));
  });
});
