import { median } from '../serve/statistics.mjs';
import { freePort, startProcess } from './processes.mjs';
import { rounded } from './rounded.mjs';

/**
 * One worker on a core, two on a core each without an exchange, two with one that begins in the way back, and two with one that begins after it:
 * in turn, in the same two processes. The exchange's hidden share is 1 - (what the step waits for it) / (what it waits where nothing is hidden), both
 * from when the later of the two has its gradients: until then it is the other that is waited for, not the exchange.
 */
export async function measureTraining({ rounds, steps, pictures, wires, precisions }) {
  const results = [];
  for (const precision of precisions) {
    const workers = await Promise.all([0, 1].map((core) => startProcess('training-worker.mjs', { core })));
    const both = (name, options) => Promise.all(workers.map((worker, rank) => worker.call(name, { rank, ...options })));
    try {
      await both('build', { precision, pictures });
      for (const wire of wires) {
        await both('open', { port: await freePort(), wire });
        const times = { one: [], apart: [], together: [], hiddenWait: [], wholeWait: [] };
        for (let round = 0; round < rounds; round++) {
          times.one.push((await workers[0].call('train', { steps, exchange: 'none' })).stepMs);
          times.apart.push(slower(await both('train', { steps, exchange: 'none' })).stepMs);
          const together = await both('train', { steps, exchange: 'early' });
          times.together.push(slower(together).stepMs);
          times.hiddenWait.push(waitedFor(together));
          times.wholeWait.push(waitedFor(await both('train', { steps, exchange: 'late' })));
        }
        const ratios = (against) => rounded(median(times.one.map((one, i) => one / times[against][i])), 3);
        results.push({
          precision, wire,
          oneMs: rounded(median(times.one)), apartMs: rounded(median(times.apart)), togetherMs: rounded(median(times.together)),
          efficiency: ratios('together'), withoutExchange: ratios('apart'),
          waitMs: rounded(median(times.hiddenWait)), wholeExchangeMs: rounded(median(times.wholeWait)),
          hidden: rounded(1 - median(times.hiddenWait) / median(times.wholeWait), 3),
        });
        await both('close');
      }
    } finally {
      for (const worker of workers) worker.stop();
    }
  }
  return results;
}

const slower = (answers) => answers.reduce((a, b) => (a.stepMs > b.stepMs ? a : b));
/** The median step's, in ms: from when the last worker began to wait until they went on. */
const waitedFor = (answers) => median(answers[0].waits.map((_, step) => mean(answers.map(({ waits }) => waits[step].to)) - Math.max(...answers.map(({ waits }) => waits[step].from))));
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
