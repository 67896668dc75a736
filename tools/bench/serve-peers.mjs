import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { asForm, closedLoop, sendOne } from './serve/clients.mjs';
import { facts } from './serve/facts.mjs';
import { exportTo, writeResNet34 } from './serve/model.mjs';
import { installPeers } from './serve/peers/install.mjs';
import { startLitServe } from './serve/peers/start.mjs';
import { readPhotographs } from './serve/photographs.mjs';
import { startOurs, withServer } from './serve/processes.mjs';
import { publish } from './serve/results.mjs';
import { median, rounded } from './serve/statistics.mjs';

/**
 * Our server beside one that people deploy today: LitServe with PyTorch, on the same weights, photographs and requests (a form with one
 * file), in turns in one run.
 */

export const HELP = `Usage: npm run bench -- serve-peers [options]

Needs CHAMELEON_TEST_DATA, a build, python3-torchvision (Debian's), and pip's registry the first time.

  --precisions LIST  of bfloat16, float32: both servers compute in it (default: both)
  --seconds N        of each turn with 32 clients (default: 4)
  --rounds N         of requests one at a time to either server (default: 60)
  --json             print the results as JSON
  --to FILE          and write them there

Example: CHAMELEON_TEST_DATA=~/data npm run bench -- serve-peers --json --to benchmarks/results/serve-peers.json
`;

const CLIENTS = 32, SIZE = 224, TURNS = 2;

export async function main(args) {
  const { values } = parseArgs({ args, options: { precisions: { type: 'string', default: 'bfloat16,float32' }, seconds: { type: 'string', default: '4' }, rounds: { type: 'string', default: '60' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false } } });
  if (values.help) return void process.stdout.write(HELP);
  const settings = { seconds: Number(values.seconds), rounds: Number(values.rounds) };
  const folder = await mkdtemp(join(tmpdir(), 'chameleon-bench-'));
  try {
    const { python, versions } = await installPeers();
    const pictures = await readPhotographs();
    const model = await writeResNet34(folder, SIZE);
    const weights = join(await exportTo('safetensors', model.folder, folder), 'model.safetensors');
    const { versions: ours, ...machine } = await facts();
    const results = { command: ['npm run bench -- serve-peers', ...args].join(' '), ...machine, versions: { ...ours, ...versions }, model: `resnet34, ${SIZE} px, weights from a seed`, clients: CLIENTS, ...settings, litserve: {} };
    for (const precision of values.precisions.split(',')) results.litserve[precision] = await compare({ precision, python, weights, modelFolder: model.folder, pictures, ...settings });
    await publish(results, values, describe);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function compare({ precision, python, weights, modelFolder, pictures, seconds, rounds }) {
  const forms = pictures.map(asForm);
  return withServer(startOurs(modelFolder, { precision }), (ours) => withServer(startLitServe(python, weights, SIZE, precision), async (theirs) => {
    await sameClass(ours, theirs, forms);
    for (const { url } of [ours, theirs]) await closedLoop(url, forms, { clients: CLIENTS, seconds: 2 });
    const one = { ours: [], theirs: [] }, many = { ours: [], theirs: [] };
    for (let i = 0; i < rounds; i++) {
      one.ours.push((await sendOne(ours.url, forms[i % forms.length])).ms);
      one.theirs.push((await sendOne(theirs.url, forms[i % forms.length])).ms);
    }
    for (let turn = 0; turn < TURNS; turn++) {
      many.ours.push((await closedLoop(ours.url, forms, { clients: CLIENTS, seconds })).perSecond);
      many.theirs.push((await closedLoop(theirs.url, forms, { clients: CLIENTS, seconds })).perSecond);
    }
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [oursMs, theirsMs, oursPerSecond, theirsPerSecond] = [median(one.ours), median(one.theirs), mean(many.ours), mean(many.theirs)];
    return rounded({ oursMs, theirsMs, timesAsFast: theirsMs / oursMs, oursPerSecond, theirsPerSecond, timesAsMany: oursPerSecond / theirsPerSecond });
  }));
}

/** Both have to be the same network, or the figures compare nothing: in float32 and bfloat16, and with two resizers, most first classes agree. */
async function sameClass(ours, theirs, forms) {
  const labels = await Promise.all(forms.slice(0, 16).map(async (form) => {
    const [mine, other] = await Promise.all([sendOne(ours.url, form), sendOne(theirs.url, form)]);
    for (const { status, body } of [mine, other]) if (status !== 200) throw new Error(`A server answered ${status}: ${body}`);
    return [mine.body.predictions[0].classes.map(({ label }) => label), other.body.classes[0].label];
  }));
  const agreeing = labels.filter(([mine, other]) => mine.includes(other)).length;
  if (agreeing < 12) throw new Error(`The servers do not compute the same network: LitServe's first class is among our first five on ${agreeing} of 16 photographs only.`);
}

function describe({ machine, versions, litserve }) {
  const lines = Object.entries(litserve).map(([precision, { oursMs, theirsMs, timesAsFast, oursPerSecond, theirsPerSecond, timesAsMany }]) => `${precision.padEnd(9)} one at a time ${oursMs} ms, LitServe ${theirsMs} ms: ${timesAsFast} times as fast; ${CLIENTS} clients ${oursPerSecond}/s, LitServe ${theirsPerSecond}/s: ${timesAsMany} times as many`);
  return `${machine}; LitServe ${versions.litserve}, PyTorch ${versions.torch}\n${lines.join('\n')}\n`;
}
