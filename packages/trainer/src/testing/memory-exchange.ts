import type { Parameter } from '@chameleon/core';
import { addN, zeros } from '@tensorflow/tfjs-core';
import type { Exchange } from '../exchange/exchange.js';

/** Ranks in one process that meet in memory: the yardstick of the arithmetic, and what a step's tests run on. */
export function memoryExchanges(worldSize: number): Exchange[] {
  const rounds = new Map<string, { brought: unknown[]; done: () => void; ready: Promise<void> }>();
  const newRound = () => {
    let done = () => {};
    const ready = new Promise<void>((resolve) => (done = resolve));
    return { brought: [], done, ready };
  };
  /** All ranks' contributions to a round, once each has brought its own. */
  const meet = async <T>(kind: string, turn: number, rank: number, own: T): Promise<T[]> => {
    const name = `${kind}/${turn}`;
    const round = rounds.get(name) ?? newRound();
    rounds.set(name, round);
    round.brought[rank] = own;
    if (Object.keys(round.brought).length === worldSize) round.done();
    await round.ready;
    return round.brought as T[];
  };
  return Array.from({ length: worldSize }, (_, rank) => {
    let turn = 0;
    const sumNumbers = async (values: readonly number[]) => {
      const all = await meet('numbers', turn++, rank, values);
      return values.map((_, i) => all.reduce((sum, own) => sum + own[i]!, 0));
    };
    return {
      rank,
      worldSize,
      gradientReady: () => undefined,
      sumNumbers,
      sumGradients: async (parameters: readonly Parameter[]) => {
        const all = await meet('gradients', turn++, rank, parameters.map(({ gradient, shape }) => gradient?.clone() ?? zeros(shape)));
        parameters.forEach((parameter, i) => {
          parameter.clearGradient();
          parameter.accumulate(addN(all.map((own) => own[i]!)));
        });
        await meet('taken', turn++, rank, null);
        for (const own of all[rank]!) own.dispose();
      },
      sumNow: () => {
        throw new Error('ranks in one thread can not wait for each other');
      },
      broadcast: async (bytes: Uint8Array | null, root: number) => (await meet('bytes', turn++, rank, bytes))[root]!,
      abort: () => undefined,
      close: () => Promise.resolve(),
    };
  });
}
