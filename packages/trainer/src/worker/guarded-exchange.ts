import { messageOf } from '@chameleon/core';
import type { Exchange } from '../exchange/exchange.js';

/** The exchange of a generation failed or was given up: whatever the reason, the state is whole and the generation is over. */
export class ExchangeBroken extends Error {
  override readonly name = 'ExchangeBroken';
}

/**
 * An exchange whose failures can be told from all others, and which does nothing more once it was given up.
 * @param onCall told when a call begins (1) and is over (-1)
 */
export function guarded(exchange: Exchange, onCall: (by: 1 | -1) => void): Exchange {
  let given: string | null = null;
  const counted = async <T>(act: () => Promise<T>): Promise<T> => {
    onCall(1);
    try {
      return await act();
    } finally {
      onCall(-1);
    }
  };
  const run = async <T>(act: () => Promise<T>): Promise<T> => {
    if (given !== null) throw new ExchangeBroken(given);
    try {
      return await counted(act);
    } catch (error) {
      throw broken(given ?? error);
    }
  };
  const runNow = <T>(act: () => T): T => {
    if (given !== null) throw new ExchangeBroken(given);
    onCall(1);
    try {
      return act();
    } catch (error) {
      throw broken(given ?? error);
    } finally {
      onCall(-1);
    }
  };
  return {
    rank: exchange.rank,
    worldSize: exchange.worldSize,
    gradientReady: (parameter) => (given === null ? exchange.gradientReady(parameter) : undefined),
    sumGradients: (parameters) => run(() => exchange.sumGradients(parameters)),
    sumNumbers: (values) => run(() => exchange.sumNumbers(values)),
    sumNow: (values) => runNow(() => exchange.sumNow(values)),
    broadcast: (bytes, root) => run(() => exchange.broadcast(bytes, root)),
    abort: (reason) => {
      given ??= reason;
      exchange.abort(reason);
    },
    close: () => counted(() => exchange.close()),
  };
}

export function broken(cause: unknown): ExchangeBroken {
  return new ExchangeBroken(messageOf(cause), { cause });
}
