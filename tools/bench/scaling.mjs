import { parseArgs } from 'node:util';
import { rounded } from './distributed/rounded.mjs';
import { LINKS, measureLinks, profileModel } from './scaling/measure.mjs';
import { GPU, NETWORKS, WORLD_SIZES, compareLinks, projectGpus } from './scaling/predict.mjs';
import { facts } from './serve/facts.mjs';
import { publish } from './serve/results.mjs';

const HELP = `Usage: npm run bench -- scaling [options]

Two workers of one core each, in two network namespaces that ${LINKS.length} links join one after the other: a step of ResNet34 in full
fine-tuning as it was measured, and as the model of docs/scaling.md has it; then what that model says of 8 to 1,024 GPUs, whose
step time is published by others and not measured here. Needs a build, root, two cores, taskset, ip and tc.

  --rounds N        of each measurement, in turn (default: 3)
  --steps N         of a round (default: 4)
  --pictures N      a worker and step (default: 8)
  --precision NAME  bfloat16 or float32 (default: bfloat16)
  --wire NAME       float32 or bfloat16: how gradients travel (default: float32)
  --json            print the results as JSON
  --to FILE         and write them there

Example: npm run bench -- scaling --json --to benchmarks/results/scaling.json
`;

export async function main(args) {
  const { values } = parseArgs({ args, options: { rounds: { type: 'string', default: '3' }, steps: { type: 'string', default: '4' }, pictures: { type: 'string', default: '8' }, precision: { type: 'string', default: 'bfloat16' }, wire: { type: 'string', default: 'float32' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false } } });
  if (values.help) return void process.stdout.write(HELP);
  const counts = { rounds: Number(values.rounds), steps: Number(values.steps), pictures: Number(values.pictures) };
  for (const [name, value] of Object.entries(counts)) if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} takes a whole number of at least 1.`);
  for (const name of ['precision', 'wire']) if (!['float32', 'bfloat16'].includes(values[name])) throw new Error(`--${name} takes float32 or bfloat16, not ${values[name]}.`);
  const settings = { ...counts, precision: values.precision, wire: values.wire };
  const command = ['npm run bench -- scaling', ...args.filter((arg, i) => arg !== '--json' && arg !== '--to' && args[i - 1] !== '--to')].join(' ');
  const results = { command, ...(await facts()), ...settings, ...(await measureLinks(settings)), gpuProfile: await profileModel({ architecture: GPU.architecture, pictures: 4, steps: counts.steps, precision: values.precision }) };
  await publish(results, values, describe);
}

function describe(results) {
  const { machine, profile, oneMs, gpuProfile } = results;
  const links = compareLinks(results).map(({ megabits, measured, modelled, off }) => `${megabits === null ? 'unlimited' : `${megabits} Mbit/s`}: a step ${measured.stepMs} ms, modelled ${rounded(modelled.stepMs)} ms (${off >= 0 ? '+' : ''}${rounded(100 * off)} %); the exchange alone ${measured.exchangeMs} ms, modelled ${rounded(modelled.exchangeMs)} ms`);
  const gpus = NETWORKS.map((network) => `${network.name}: ${WORLD_SIZES.map((size) => `${size} ${rounded(projectGpus(gpuProfile, size, network, 'float32'), 2)}`).join(', ')}`);
  return `${machine}
a step of one worker ${oneMs} ms; of two without an exchange ${rounded(profile.forwardMs + profile.backwardMs + profile.optimizerMs)} ms
${links.join('\n')}
efficiency of ${GPU.name}s, modelled, their speed from ${GPU.source}:
${gpus.join('\n')}
`;
}
