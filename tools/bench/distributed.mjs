import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { compareAllReduce } from './distributed/all-reduce.mjs';
import { measureTraining } from './distributed/training.mjs';
import { facts } from './serve/facts.mjs';

/** What several workers cost: efficiency, the share of the exchange that the way back hides, and an all-reduce against PyTorch's own. */

export const HELP = `Usage: npm run bench -- distributed [options]

Two workers of one core each against one, ResNet34, full fine-tuning, 224 px, random pixels; and an all-reduce of 85 MB over two
processes against torch.distributed over Gloo (/usr/bin/python3 with torch). Needs a build, two cores and taskset.

  --parts LIST    of training, all-reduce (default: both)
  --rounds N      of each measurement, in turn (default: 5)
  --steps N       of a round of training (default: 10)
  --pictures N    a worker and step (default: 8)
  --wire LIST     of float32, bfloat16: how gradients travel (default: both)
  --json          print the results as JSON
  --to FILE       and write them there

Example: npm run bench -- distributed --json --to benchmarks/results/distributed.json
`;

const PARTS = ['training', 'all-reduce'];

export async function main(args) {
  const { values } = parseArgs({ args, options: { parts: { type: 'string', default: PARTS.join() }, rounds: { type: 'string', default: '5' }, steps: { type: 'string', default: '10' }, pictures: { type: 'string', default: '8' }, wire: { type: 'string', default: 'float32,bfloat16' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false } } });
  if (values.help) return void process.stdout.write(HELP);
  const parts = values.parts.split(','), wires = values.wire.split(',');
  const unknown = [...parts.filter((part) => !PARTS.includes(part)), ...wires.filter((wire) => !['float32', 'bfloat16'].includes(wire))];
  if (unknown.length > 0) throw new Error(`${unknown.join(', ')}: there is no such part or wire. See --help.`);
  const settings = { rounds: Number(values.rounds), steps: Number(values.steps), pictures: Number(values.pictures) };
  const results = { command: ['npm run bench -- distributed', ...args].join(' '), ...(await facts()), ...settings };
  if (parts.includes('all-reduce')) results.allReduce = await compareAllReduce(settings);
  if (parts.includes('training')) results.training = await measureTraining({ ...settings, wires });
  const text = `${JSON.stringify(results, null, 1)}\n`;
  if (values.to) await mkdir(dirname(values.to), { recursive: true }).then(() => writeFile(values.to, text));
  process.stdout.write(values.json ? text : describe(results));
}

function describe({ machine, allReduce = [], training = [] }) {
  const lines = [machine, ...allReduce.map(({ megabytes, wire, oursMs, torchMs }) => `all-reduce of ${megabytes} MB in ${wire}, 2 processes: ${oursMs} ms${torchMs === undefined ? '' : `; torch.distributed over Gloo ${torchMs} ms, ratio ${(oursMs / torchMs).toFixed(2)}`}`)];
  for (const { precision, wire, oneMs, apartMs, togetherMs, efficiency, withoutExchange, hidden } of training) {
    lines.push(`${precision}, gradients in ${wire}: 1 worker ${oneMs} ms a step, 2 workers ${togetherMs} ms (without exchange ${apartMs}): efficiency ${efficiency}, without exchange ${withoutExchange}; ${hidden} of the exchange is hidden`);
  }
  return `${lines.join('\n')}\n`;
}
