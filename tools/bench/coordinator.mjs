import { parseArgs } from 'node:util';
import { measureCoordinator } from './coordinator/measure.mjs';
import { facts } from './serve/facts.mjs';
import { publish } from './serve/results.mjs';

const HELP = `Usage: npm run bench -- coordinator [options]

One coordinator and many simulated workers, each with a stream and a heartbeat a second over gRPC on the loopback: the processor time
that the coordinator takes, how long a decision about the membership takes, and how long it is from a worker's death until every
survivor has been told of the next generation. Needs a build.

  --workers N     simulated workers (default: 1000)
  --seconds N     of heartbeats that are measured (default: 20)
  --rounds N      workers that are killed, one after the other (default: 5)
  --json          print the results as JSON
  --to FILE       and write them there

Example: npm run bench -- coordinator --json --to benchmarks/results/coordinator.json
`;

export async function main(args) {
  const { values } = parseArgs({ args, options: { workers: { type: 'string', default: '1000' }, seconds: { type: 'string', default: '20' }, rounds: { type: 'string', default: '5' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false } } });
  if (values.help) return void process.stdout.write(HELP);
  const settings = { workers: Number(values.workers), seconds: Number(values.seconds), rounds: Number(values.rounds) };
  for (const [name, value] of Object.entries(settings)) if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} takes a whole number of at least 1.`);
  const results = { command: ['npm run bench -- coordinator', ...args].join(' '), ...(await facts()), ...settings, ...(await measureCoordinator(settings)) };
  await publish(results, values, describe);
}

const describe = ({ machine, workers, coreShare, decisionMs, regroupMs, residentMiB }) => `${machine}
${workers} workers at a heartbeat a second: ${coreShare} of a core, ${residentMiB} MiB
a decision about them: median ${decisionMs.median} ms, longest ${decisionMs.longest} ms
from a worker's death until all others know the next generation: median ${regroupMs.median} ms, longest ${regroupMs.longest} ms
`;
