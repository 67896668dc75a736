import type { RandomStream } from '@chameleon/core';

/** Uniform in [low, high). */
export function between(random: RandomStream, low: number, high: number): number {
  return low + (high - low) * random.uniform();
}

/** True in this share of the cases, 0 … 1. */
export function chance(random: RandomStream, share: number): boolean {
  return random.uniform() < share;
}

export function pick<T>(random: RandomStream, choices: readonly T[]): T {
  return choices[random.integer(choices.length)]!;
}

/** One of the choices, each as often as its weight says. */
export function pickWeighted<T>(random: RandomStream, choices: readonly (readonly [T, number])[]): T {
  let left = random.uniform() * choices.reduce((sum, [, weight]) => sum + weight, 0);
  return (choices.find(([, weight]) => (left -= weight) < 0) ?? choices.at(-1)!)[0];
}

/** The same things in a drawn order (Fisher and Yates). */
export function shuffle<T>(random: RandomStream, things: readonly T[]): T[] {
  const order = [...things];
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
