import { messageOf } from '@chameleon/core';
import { Client, type ClientDuplexStream, Metadata, Server, type ServerDuplexStream, type ServiceDefinition, ServerCredentials, credentials, status } from '@grpc/grpc-js';
import { hostPort } from '../worker/address.js';
import { ExchangeAborted } from './aborted.js';
import { Calls } from './calls.js';
import type { ExchangeOptions } from './exchange.js';
import { Assembler, framesOf } from './frames.js';
import { type CallHeader, Reducer, aligned, bytesOf } from './reducer.js';

/** The ranks of the exchange over gRPC as they meet: rank 0 sums what all bring, over one stream a rank. Bytes alone; no tensors. */
export type PartyOptions = Pick<ExchangeOptions, 'rank' | 'worldSize' | 'meeting' | 'timeoutMs'>;

/** Meets the others. @throws ExchangeAborted; also when the signal says so */
export async function meetParty(options: PartyOptions, signal: AbortSignal): Promise<Party> {
  const { rank, worldSize, meeting, timeoutMs } = options;
  const given = () => new ExchangeAborted(`The exchange was given up: ${messageOf(signal.reason)}`, { cause: signal.reason });
  const party = rank === 0 ? new Host(options) : new Guest(options);
  let onAbort = () => {};
  const givenUp = new Promise<never>((_, reject) => {
    onAbort = () => {
      party.calls.fail(given());
      reject(given());
    };
  });
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([party.meet(), givenUp]);
    const [sum] = new Float64Array(aligned(await party.calls.make('float64', bytesOf(Float64Array.of(1)))));
    if (sum !== worldSize) throw new Error(`the ranks' first sum is ${sum}`);
  } catch (error) {
    const told = error instanceof ExchangeAborted ? error : new ExchangeAborted(`The ranks could not meet (rank ${rank} of ${worldSize} at ${meeting.host}:${meeting.port}, waited up to ${timeoutMs} ms): ${messageOf(error)}.`, { cause: error });
    party.calls.fail(told);
    throw told;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return party;
}

/** A rank's side of the meeting. */
export interface Party {
  readonly calls: Calls;
  meet(): Promise<void>;
  leave: () => Promise<void>;
}

/** How long a port that is held is waited for. */
const PORT_WAIT_MS = 3_000;
const PATH = '/chameleon.exchange.v1.Exchange/Join';
const asIs = (bytes: Buffer): Buffer => bytes;
const service: ServiceDefinition = {
  join: { path: PATH, requestStream: true, responseStream: true, requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
};

type GuestStream = ServerDuplexStream<Buffer, Buffer>;

/** Rank 0: sums, and knows who is there. It listens at the meeting point alone. */
class Host implements Party {
  readonly #options: PartyOptions;
  readonly #server = new Server();
  readonly #reducer: Reducer;
  readonly #guests = new Map<number, GuestStream>();
  #whenAllAreHere: () => void = () => undefined;
  readonly calls: Calls;

  constructor(options: PartyOptions) {
    this.#options = options;
    this.#reducer = new Reducer(options.worldSize);
    this.calls = new Calls(options.timeoutMs, (header, bytes) => this.#bring(0, header, bytes), () => this.#server.forceShutdown());
    this.#server.addService(service, { join: (stream: GuestStream) => this.#admit(stream) });
  }

  async meet(): Promise<void> {
    const { meeting, timeoutMs, worldSize } = this.#options;
    const allAreHere = new Promise<void>((resolve) => (this.#whenAllAreHere = resolve));
    await this.#bind();
    const absent = () => Array.from({ length: worldSize - 1 }, (_, i) => i + 1).filter((rank) => !this.#guests.has(rank));
    if (await inTime(allAreHere, timeoutMs)) return;
    const told = `${absent().length === 1 ? 'rank' : 'ranks'} ${absent().join(' and ')} of ${worldSize} did not come to ${hostPort(meeting)} in ${timeoutMs} ms`;
    this.#tellGuests(status.DEADLINE_EXCEEDED, told);
    throw new Error(told);
  }

  /** A group of before, which this process has given up, may hold the port for a moment longer. */
  async #bind(): Promise<void> {
    const { meeting, timeoutMs } = this.#options;
    const once = () => new Promise<void>((resolve, reject) => this.#server.bindAsync(hostPort(meeting), ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve())));
    for (const endMs = performance.now() + Math.min(PORT_WAIT_MS, timeoutMs); ; ) {
      try {
        return await once();
      } catch (error) {
        if (this.calls.isOver || performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  readonly leave = async (): Promise<void> => {
    for (const stream of this.#guests.values()) stream.end();
    this.#guests.clear();
    await inTime(new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve())), this.#options.timeoutMs);
  };

  #admit(stream: GuestStream): void {
    const { meeting, worldSize } = this.#options;
    const [prefix] = stream.metadata.get('prefix'), rank = Number(stream.metadata.get('rank')[0]);
    const refusal = prefix !== meeting.prefix ? `this is ${meeting.prefix}, and who comes wants ${prefix}` : !(rank > 0 && rank < worldSize) || this.#guests.has(rank) ? `there is no place for a rank ${rank}` : null;
    if (refusal !== null) {
      stream.emit('error', { code: status.FAILED_PRECONDITION, details: refusal });
      return;
    }
    const assembler = new Assembler();
    this.#guests.set(rank, stream);
    stream.on('data', (frame: Buffer) => {
      try {
        const whole = assembler.add(frame);
        if (whole) this.#bring(rank, whole.header, whole.bytes);
      } catch (error) {
        this.#break(messageOf(error));
      }
    });
    const gone = () => {
      if (this.#guests.get(rank) === stream) this.#break(`rank ${rank} went away`);
    };
    stream.on('end', gone).on('cancelled', gone).on('error', gone);
    if (this.#guests.size === worldSize - 1) this.#whenAllAreHere();
  }

  #bring(rank: number, header: CallHeader, bytes: Uint8Array): void {
    try {
      const result = this.#reducer.bring(rank, header, bytes);
      if (result === null) return;
      for (const stream of this.#guests.values()) for (const frame of framesOf(header, result)) stream.write(frame);
      this.calls.answer(header.call, result);
    } catch (error) {
      this.#break(messageOf(error));
    }
  }

  #break(reason: string): void {
    this.#tellGuests(status.ABORTED, reason);
    this.calls.fail(new ExchangeAborted(`The exchange broke (rank 0 of ${this.#options.worldSize}): ${reason}.`));
  }

  #tellGuests(code: status, details: string): void {
    const guests = [...this.#guests.values()];
    this.#guests.clear();
    for (const stream of guests) stream.emit('error', { code, details });
  }
}

/** Any other rank. */
class Guest implements Party {
  readonly #options: PartyOptions;
  readonly #client: Client;
  #stream: ClientDuplexStream<Buffer, Buffer> | null = null;
  readonly calls: Calls;

  constructor(options: PartyOptions) {
    this.#options = options;
    this.#client = new Client(hostPort(options.meeting), credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1, 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.min_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 250 });
    const send = (header: CallHeader, bytes: Uint8Array) => {
      for (const frame of framesOf(header, bytes)) this.#stream?.write(frame);
    };
    this.calls = new Calls(options.timeoutMs, send, () => {
      this.#stream?.cancel();
      this.#client.close();
    });
  }

  async meet(): Promise<void> {
    const { rank, meeting, worldSize, timeoutMs } = this.#options;
    const host = new Promise<void>((resolve, reject) => this.#client.waitForReady(Date.now() + timeoutMs, (error) => (error ? reject(error) : resolve())));
    await host.catch((cause: unknown) => {
      throw new Error(`rank 0 of ${worldSize} did not come to ${hostPort(meeting)} in ${timeoutMs} ms`, { cause });
    });
    const metadata = new Metadata();
    metadata.set('prefix', meeting.prefix);
    metadata.set('rank', String(rank));
    const assembler = new Assembler();
    const stream = this.#client.makeBidiStreamRequest<Buffer, Buffer>(PATH, asIs, asIs, metadata);
    this.#stream = stream;
    const lost = (reason: string) => this.calls.fail(new ExchangeAborted(`The exchange broke (rank ${rank} of ${worldSize} at ${hostPort(meeting)}): ${reason}.`));
    stream.on('data', (frame: Buffer) => {
      try {
        const whole = assembler.add(frame);
        if (whole) this.calls.answer(whole.header.call, whole.bytes);
      } catch (error) {
        lost(messageOf(error));
      }
    });
    stream.on('error', ({ details, message }: Error & { details?: string }) => lost(details || message));
    stream.on('end', () => lost('rank 0 ended it'));
  }

  readonly leave = async (): Promise<void> => {
    this.#stream?.end();
    this.#client.close();
  };
}

/** Whether a promise settles within so many milliseconds. */
async function inTime(promise: Promise<void>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), timeoutMs)));
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
