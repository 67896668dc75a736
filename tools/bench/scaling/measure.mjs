import { freePort, startProcess } from '../distributed/processes.mjs';
import { rounded } from '../distributed/rounded.mjs';
import { median } from '../serve/statistics.mjs';
import { joinHosts } from './links.mjs';

/** What the two hosts are joined by, one after the other; megabits null: as fast as this machine copies. */
export const LINKS = [{ megabits: null }, { megabits: 2500 }, { megabits: 1000 }, { megabits: 300 }];

/**
 * Two workers on a core and a network namespace each: what a step takes them without an exchange, then on each link what an all-reduce of a few
 * numbers takes, what all gradients take with nothing else to do, and what a step takes with the exchange in its way back. In turn, `rounds` times.
 */
export async function measureLinks({ rounds, steps, pictures, precision, wire }) {
  const net = joinHosts(), workers = [];
  try {
    for (const [core, { namespace }] of net.hosts.entries()) workers.push(await startProcess('training-worker.mjs', { core, namespace }));
    const both = (name, options = {}) => Promise.all(workers.map((worker, rank) => worker.call(name, { rank, address: net.hosts[rank].address, ...options })));
    await both('build', { precision, pictures });
    await both('open', { host: net.hosts[0].address, port: await freePort(), wire });
    const profiles = { one: [], apart: [] }, taken = LINKS.map(() => []);
    for (let round = 0; round < rounds; round++) {
      profiles.one.push(await workers[0].call('profile', { steps }));
      profiles.apart.push(...(await both('profile', { steps })));
      for (const [i, link] of LINKS.entries()) {
        net.shape(link);
        const [{ sumMs }] = await both('sumFew', { sums: 20 });
        const whole = await both('train', { steps, exchange: 'late' }), early = await both('train', { steps, exchange: 'early' });
        taken[i].push({ sumMs, exchangeMs: mean(whole, 'waitMs'), processorMs: mean(whole, 'waitProcessorMs'), stepMs: mean(early, 'stepMs'), waitMs: mean(early, 'waitMs') });
      }
    }
    return {
      oneMs: rounded(median(profiles.one.map(({ forwardMs, backwardMs, optimizerMs }) => forwardMs + backwardMs + optimizerMs))),
      profile: mergeProfiles(profiles.apart),
      links: LINKS.map((link, i) => ({ ...link, ...Object.fromEntries(Object.keys(taken[i][0]).map((name) => [name, rounded(median(taken[i].map((one) => one[name])), 2)])) })),
    };
  } finally {
    for (const worker of workers) worker.stop();
    net.dispose();
  }
}

/** How the way back of an architecture's step goes: one worker, alone. */
export async function profileModel({ architecture, pictures, steps, precision }) {
  const worker = await startProcess('training-worker.mjs', { core: 0 });
  try {
    await worker.call('build', { rank: 0, precision, pictures, architecture });
    return mergeProfiles([await worker.call('profile', { steps })]);
  } finally {
    worker.stop();
  }
}

const mean = (answers, name) => answers.reduce((sum, answer) => sum + answer[name], 0) / answers.length;

/** Medians of what was measured several times. */
function mergeProfiles(profiles) {
  const [{ buckets }] = profiles, middle = (of) => rounded(median(profiles.map(of)), 2);
  return {
    forwardMs: middle((one) => one.forwardMs), backwardMs: middle((one) => one.backwardMs), optimizerMs: middle((one) => one.optimizerMs),
    buckets: buckets.map(({ numbers }, i) => ({ numbers, readyMs: middle((one) => one.buckets[i].readyMs) })),
  };
}
