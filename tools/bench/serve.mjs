import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { closedLoop, openLoop, sendOne } from './serve/clients.mjs';
import { facts } from './serve/facts.mjs';
import { writeResNet34 } from './serve/model.mjs';
import { readPhotographs } from './serve/photographs.mjs';
import { residentMiB, startBare, startOurs, startBaseline, untilReady, withServer } from './serve/processes.mjs';
import { publish } from './serve/results.mjs';
import { median, percentile, rounded } from './serve/statistics.mjs';

/**
 * What serving costs: our server against ONNX Runtime behind a plain Express route with sharp, in turns in one run, and against a bare
 * loop of decoding and the model. ResNet34 at 224 px with weights from a seed, on photographs.
 */

export const HELP = `Usage: npm run bench -- serve [options]

Needs CHAMELEON_TEST_DATA, for its photographs, and a build.

  --parts LIST     of latency, throughput, overload, cold-start, memory (default: all)
  --precision P    bfloat16 (default), float32, or int8
  --seconds N      of each measurement under load (default: 10)
  --rounds N       of requests one at a time to either server (default: 100)
  --rest-ms N      before each of them (default: 100). The threads of ONNX Runtime go on spinning for a while after an answer,
                   on a processor that the next server's turn would need, and nobody runs two servers in turns.
  --requests N     over which memory is watched (default: 20000)
  --image-size PX  that the model takes (default: 224; the goals are for that, and memory can be watched sooner with 64)
  --json           print the results as JSON
  --to FILE        and write them there

Example: CHAMELEON_TEST_DATA=~/data npm run bench -- serve --json --to benchmarks/results/serve.json
`;

const PARTS = ['latency', 'throughput', 'overload', 'cold-start', 'memory'];
const CLIENTS = 32;

export async function main(args) {
  const { values } = parseArgs({ args, options: { parts: { type: 'string', default: PARTS.join() }, precision: { type: 'string', default: 'bfloat16' }, seconds: { type: 'string', default: '10' }, rounds: { type: 'string', default: '100' }, 'rest-ms': { type: 'string', default: '100' }, requests: { type: 'string', default: '20000' }, 'image-size': { type: 'string', default: '224' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false } } });
  if (values.help) return void process.stdout.write(HELP);
  const parts = values.parts.split(',');
  const unknown = parts.find((part) => !PARTS.includes(part));
  if (unknown !== undefined) throw new Error(`There is no part called ${unknown}. Choose of ${PARTS.join(', ')}.`);
  const settings = { precision: values.precision, seconds: Number(values.seconds), rounds: Number(values.rounds), restMs: Number(values['rest-ms']), requests: Number(values.requests), size: Number(values['image-size']) };
  const folder = await mkdtemp(join(tmpdir(), 'chameleon-bench-'));
  try {
    const results = { command: ['npm run bench -- serve', ...args].join(' '), ...(await facts()), model: `resnet34, ${settings.size} px, weights from a seed`, ...settings, ...(await measure(parts, settings, folder)) };
    await publish(results, values, describe);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(parts, settings, folder) {
  const pictures = await readPhotographs();
  const model = await writeResNet34(folder, settings.size, pictures);
  const results = {};
  if (['latency', 'throughput', 'overload'].some((part) => parts.includes(part))) {
    await withServer(startOurs(model.folder, settings), (ours) => withServer(startBaseline(model.onnx, settings.size), async (baseline) => {
      for (const server of [ours, baseline]) await closedLoop(server.url, pictures, { clients: CLIENTS, seconds: 2 });
      if (parts.includes('latency')) results.latency = await latency(ours, baseline, pictures, settings);
      if (parts.includes('throughput')) results.throughput = await throughput(ours, baseline, model.folder, pictures, settings);
      if (parts.includes('overload')) results.overload = await overload(ours, pictures, settings);
    }));
  }
  if (parts.includes('cold-start')) results.coldStart = await coldStart(model.folder, settings);
  if (parts.includes('memory')) results.memory = await memoryOver(model.folder, pictures, settings);
  return results;
}

/** One request at a time, to either server in turn: ms from request to answer. */
async function latency(ours, baseline, pictures, { rounds, restMs }) {
  const times = { ours: [], baseline: [] };
  const stages = { decode: [], queue: [], compute: [], total: [] };
  for (let i = 0; i < rounds; i++) {
    const picture = pictures[i % pictures.length];
    await delay(restMs);
    const { ms, body } = await sendOne(ours.url, picture);
    times.ours.push(ms);
    for (const stage of Object.keys(stages)) stages[stage].push(body.timings_ms[stage]);
    await delay(restMs);
    times.baseline.push((await sendOne(baseline.url, picture)).ms);
  }
  const [oursMs, baselineMs] = [median(times.ours), median(times.baseline)];
  return { ...rounded({ oursMs, baselineMs, oursP99Ms: percentile(times.ours, 0.99), baselineP99Ms: percentile(times.baseline, 0.99), ratio: baselineMs / oursMs }), stagesMs: rounded(Object.fromEntries(Object.entries(stages).map(([stage, values]) => [stage, median(values)]))) };
}

/** Pictures a second with many clients, in turns, and what a loop without HTTP reaches on the same cores. */
async function throughput(ours, baseline, modelFolder, pictures, { seconds, precision }) {
  const turns = { ours: [], baseline: [], bare: [] };
  for (let turn = 0; turn < 3; turn++) {
    turns.ours.push((await closedLoop(ours.url, pictures, { clients: CLIENTS, seconds })).perSecond);
    turns.baseline.push((await closedLoop(baseline.url, pictures, { clients: CLIENTS, seconds })).perSecond);
    turns.bare.push(await startBare(modelFolder, precision, seconds));
  }
  const [oursPerSecond, baselinePerSecond, barePerSecond] = [turns.ours, turns.baseline, turns.bare].map(median);
  return { clients: CLIENTS, ...rounded({ oursPerSecond, baselinePerSecond, barePerSecond, ratio: oursPerSecond / baselinePerSecond, ofBare: oursPerSecond / barePerSecond }) };
}

/**
 * Twice as many requests a second as it can answer, whether or not it answers. The queue's bound is a number of pictures; in ms it is what
 * the server takes for so many at the pace that it keeps under this load, where the clients that are refused take processors too.
 */
async function overload(ours, pictures, { seconds }) {
  const unloaded = [];
  for (let i = 0; i < 60; i++) unloaded.push((await sendOne(ours.url, pictures[i % pictures.length])).ms);
  const capacity = (await closedLoop(ours.url, pictures, { clients: CLIENTS, seconds })).perSecond;
  const { statuses, acceptedMs, acceptedPerSecond } = await openLoop(ours.url, pictures, { perSecond: 2 * capacity, seconds });
  const unloadedP99Ms = percentile(unloaded, 0.99), queueBoundMs = (1000 * ours.maxQueue) / acceptedPerSecond;
  const acceptedP99Ms = percentile(acceptedMs, 0.99);
  return { ...rounded({ capacityPerSecond: capacity, offeredPerSecond: 2 * capacity, acceptedPerSecond, unloadedP99Ms, queueBoundMs, queueBoundAtCapacityMs: (1000 * ours.maxQueue) / capacity, acceptedP99Ms, allowedP99Ms: 3 * unloadedP99Ms + queueBoundMs }), maxQueue: ours.maxQueue, statuses };
}

/** From the start of the process to the first "ready". */
async function coldStart(modelFolder, settings) {
  const times = [];
  for (let i = 0; i < 5; i++) {
    const startMs = performance.now();
    await withServer(startOurs(modelFolder, settings), async ({ url }) => {
      await untilReady(url);
      times.push((performance.now() - startMs) / 1000);
    });
  }
  return { ...rounded({ seconds: median(times) }), all: times.map((time) => Math.round(1000 * time) / 1000) };
}

/** Resident memory after each tenth of the requests. */
async function memoryOver(modelFolder, pictures, { requests, ...settings }) {
  const residentMiBs = [];
  await withServer(startOurs(modelFolder, settings), async ({ url, pid }) => {
    for (let tenth = 0; tenth < 10; tenth++) {
      await closedLoop(url, pictures, { clients: 8, requests: Math.ceil(requests / 10) });
      residentMiBs.push(residentMiB(pid));
    }
  });
  // The first tenths fill caches and heaps.
  return { requests, residentMiB: residentMiBs, growthMiB: residentMiBs.at(-1) - residentMiBs[3] };
}

function describe({ machine, latency: one, throughput: many, overload: over, coldStart: cold, memory }) {
  const lines = [`${machine}`];
  if (one) lines.push(`one at a time   ${one.oursMs} ms, baseline ${one.baselineMs} ms: ${one.ratio} times as fast (decode ${one.stagesMs.decode}, queue ${one.stagesMs.queue}, compute ${one.stagesMs.compute})`);
  if (many) lines.push(`${many.clients} clients      ${many.oursPerSecond}/s, baseline ${many.baselinePerSecond}/s: ${many.ratio} times; bare loop ${many.barePerSecond}/s: ${many.ofBare} of it`);
  if (over) lines.push(`overload        ${JSON.stringify(over.statuses)}, p99 of the accepted ${over.acceptedP99Ms} ms, allowed ${over.allowedP99Ms} ms`);
  if (cold) lines.push(`cold start      ${cold.seconds} s`);
  if (memory) lines.push(`memory          ${memory.residentMiB.join(', ')} MiB; ${memory.growthMiB} MiB more over the last ${Math.round(0.6 * memory.requests)} requests`);
  return `${lines.join('\n')}\n`;
}

if (import.meta.url === `file://${process.argv[1]}`) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n`);
    process.exitCode = 1;
  }
}
