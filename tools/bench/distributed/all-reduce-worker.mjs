import { LibtorchBackend, setThreads } from '@chameleon/tfjs-libtorch';
import { median } from '../serve/statistics.mjs';
import { serveCalls } from './processes.mjs';

/** One of two processes that sum a bucket. */
setThreads(1);
let group;
const buckets = new Map();

serveCalls({
  async open({ rank, port }) {
    group = new LibtorchBackend().openGroup({ kind: 'gloo', rank, worldSize: 2, host: '127.0.0.1', port, prefix: 'bench/1', address: '127.0.0.1', timeoutMs: 60_000 });
    await group.ready;
  },
  /** The median of so many sums of `length` numbers, in ms, after one that is not counted. */
  async sum({ wire, length, sums }) {
    if (!buckets.has(wire)) buckets.set(wire, group.bucket(length, wire));
    const times = [];
    for (let i = 0; i <= sums; i++) {
      await group.sumNumbers([1]);
      const start = performance.now();
      await group.sumBucket(buckets.get(wire));
      times.push(performance.now() - start);
    }
    return median(times.slice(1));
  },
});
