import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/**
 * Random numbers named by what they are for: a stream is a function of its key alone (seed, epoch, picture …),
 * never of what was drawn before. So it doesn't matter who computes a picture, in which order, or after which restart.
 */
export interface RandomStream {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Uniform integer in [0, count). */
  integer(count: number): number;
  /** Normal with mean 0 and deviation 1 (Box and Muller, 1958). */
  normal(): number;
}

export function randomStream(...key: (number | string)[]): RandomStream {
  const generator = xoroshiro128plus(hashKey(key));
  const uniform = () => uniformFloat64(generator);
  return {
    uniform,
    integer: (count) => uniformInt(generator, 0, count - 1),
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  };
}

/** The numbers 0 … count-1 in an order that depends on the key alone (Fisher and Yates). */
export function permutation(count: number, ...key: (number | string)[]): Int32Array {
  const random = randomStream(...key);
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** 32 bits of the key: FNV-1a over its text, then the finaliser of MurmurHash3. */
function hashKey(key: (number | string)[]): number {
  let hash = 0x811c9dc5;
  for (const character of key.join('\u0000')) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
