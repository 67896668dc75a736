import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { compareAllReduce } from './distributed/all-reduce.mjs';
import { measureDdp } from './distributed/ddp.mjs';
import { measureRecovery } from './distributed/recovery.mjs';
import { measureTraining } from './distributed/training.mjs';
import { facts } from './serve/facts.mjs';
import { publish } from './serve/results.mjs';

/**
 * What several workers cost: efficiency, the share of the exchange that the way back hides, an all-reduce against PyTorch's own, and how soon
 * the survivors of a killed worker go on.
 */

export const HELP = `Usage: npm run bench -- distributed [options]

Two workers of one core each against one, ResNet34, full fine-tuning, 224 px, random pixels, and PyTorch's DistributedDataParallel
on the same; an all-reduce of 85 MB over two processes, by reading the other's memory and over a connection as between machines,
against a bare program on c10d and torch.distributed, over Gloo; and from kill -9 of a worker to the survivors' next applied step. Needs a build, two cores and taskset; the comparisons need g++, Debian's
libtorch and /usr/bin/python3 with torch and torchvision.

  --parts LIST      of training, ddp, all-reduce, recovery (default: all)
  --rounds N        of each measurement, in turn (default: 5)
  --steps N         of a round of training (default: 10)
  --pictures N      a worker and step (default: 8)
  --precision LIST  of bfloat16, float32 (default: both)
  --wire LIST       of float32, bfloat16: how gradients travel (default: both)
  --kills N         of workers (default: 9)
  --json            print the results as JSON
  --to FILE         and write them there; parts that are not measured keep what the file has

Example: npm run bench -- distributed --json --to benchmarks/results/distributed.json
`;

const PARTS = ['training', 'ddp', 'all-reduce', 'recovery'];

export async function main(args) {
  const { values } = parseArgs({ args, options: { parts: { type: 'string', default: PARTS.join() }, rounds: { type: 'string', default: '5' }, steps: { type: 'string', default: '10' }, pictures: { type: 'string', default: '8' }, precision: { type: 'string', default: 'bfloat16,float32' }, wire: { type: 'string', default: 'float32,bfloat16' }, kills: { type: 'string', default: '9' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false } } });
  if (values.help) return void process.stdout.write(HELP);
  const parts = values.parts.split(','), wires = values.wire.split(','), precisions = values.precision.split(',');
  const unknown = [...parts.filter((part) => !PARTS.includes(part)), ...[...wires, ...precisions].filter((one) => !['float32', 'bfloat16'].includes(one))];
  if (unknown.length > 0) throw new Error(`${unknown.join(', ')}: there is no such part, precision or wire. See --help.`);
  const settings = { rounds: Number(values.rounds), steps: Number(values.steps), pictures: Number(values.pictures) };
  // Where the results go makes no difference to them.
  const command = ['npm run bench -- distributed', ...args.filter((arg, i) => arg !== '--json' && arg !== '--to' && args[i - 1] !== '--to')].join(' ');
  const earlier = values.to ? JSON.parse(await readFile(values.to, 'utf8').catch(() => '{}')) : {};
  const { date, ...surroundings } = await facts();
  const results = { ...earlier, ...surroundings };
  const add = (name, measured) => (results[name] = { date, command, ...settings, results: measured });
  /** Rows of the same precision and wire are measured anew, others kept: a machine that is shared is measured in pieces. */
  const addRows = (name, rows) => add(name, [...(earlier[name]?.results ?? []).filter((old) => !rows.some((row) => row.precision === old.precision && row.wire === old.wire)), ...rows]);
  if (parts.includes('all-reduce')) add('allReduce', await compareAllReduce(settings));
  if (parts.includes('training')) addRows('training', await measureTraining({ ...settings, wires, precisions }));
  if (parts.includes('ddp')) addRows('ddp', await measureDdp({ ...settings, precisions }));
  if (parts.includes('recovery')) add('recovery', await measureRecovery({ kills: Number(values.kills) }));
  await publish(results, values, describe);
}

function describe({ machine, allReduce, training, ddp, recovery }) {
  const lines = [machine];
  for (const { megabytes, wire, oursMs, connectionsMs, ...others } of allReduce?.results ?? []) {
    const against = [['a bare program on c10d', others.bareC10dMs], ['torch.distributed', others.torchMs]].filter(([, ms]) => ms !== undefined).map(([name, ms]) => `; ${name} ${ms} ms, ratio ${(connectionsMs / ms).toFixed(2)} over a connection, ${(oursMs / ms).toFixed(2)} by memory`);
    lines.push(`all-reduce of ${megabytes} MB in ${wire}, 2 processes: ${oursMs} ms by the other's memory, ${connectionsMs} ms over a connection${against.join('')}`);
  }
  for (const { precision, wire, oneMs, apartMs, togetherMs, efficiency, withoutExchange, hidden } of training?.results ?? []) {
    lines.push(`${precision}, gradients in ${wire}: 1 worker ${oneMs} ms a step, 2 workers ${togetherMs} ms (without exchange ${apartMs}): efficiency ${efficiency}, without exchange ${withoutExchange}; ${hidden} of the exchange is hidden`);
  }
  for (const { precision, oneMs, togetherMs, efficiency } of ddp?.results ?? []) lines.push(`PyTorch's DistributedDataParallel, ${precision}: ${oneMs} ms, ${togetherMs} ms: efficiency ${efficiency}`);
  if (recovery) lines.push(`recovery from kill -9 of one of ${recovery.results.workers} workers: median ${recovery.results.medianMs} ms, slowest of ${recovery.results.kills} ${recovery.results.slowestMs} ms`);
  return `${lines.join('\n')}\n`;
}
