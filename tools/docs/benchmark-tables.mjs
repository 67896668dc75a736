import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { table } from './markdown.mjs';
import { scalingPlaces } from './scaling-tables.mjs';

/**
 * Writes the tables of measurements into the pages, from benchmarks/results: what stands between `<!-- NAME -->` and `<!-- /NAME -->`.
 * Usage: node tools/docs/benchmark-tables.mjs
 */
const root = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Which table stands where; one whose measurement is not kept stays empty. */
export const PLACES = [
  ...['train', 'train-pip', 'train-compiled'].map((name) => ({ page: root('packages/tfjs-libtorch/README.md'), name, results: root(`benchmarks/results/${name}.json`), render: trainTable })),
  { page: root('docs/decisions/winograd.md'), name: 'convolutions', results: root('benchmarks/results/convolutions.json'), render: convolutionsTable },
  { page: root('README.md'), name: 'train-short', results: root('benchmarks/results/train.json'), render: shortTable },
  ...['serve', 'serve-int8', 'serve-memory'].map((name) => ({ page: root('packages/inference-server/README.md'), name, results: root(`benchmarks/results/${name}.json`), render: serveTable })),
  { page: root('packages/inference-server/README.md'), name: 'serve-peers', results: root('benchmarks/results/serve-peers.json'), render: peersTable },
  { page: root('docs/how-to/train-on-many-machines.md'), name: 'distributed', results: root('benchmarks/results/distributed.json'), render: distributedTable },
  ...scalingPlaces(root),
].filter(({ results }) => existsSync(results));

/** A page with the table in its place. Throws where the page has no place for it. */
export function withTable(page, name, table) {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = page.indexOf(open), to = page.indexOf(close);
  if (from < 0 || to < from) throw new Error(`the page has no ${open} … ${close}`);
  return `${page.slice(0, from + open.length)}\n${table}\n${page.slice(to)}`;
}

const times = (ratio) => ratio.toFixed(2);

/** Every row: time and peak memory of both. */
export function trainTable({ rows, machine, versions, arch, size, batch, threads, compiled = false, command }) {
  const header = ['step', 'precision', 'PyTorch, ms', 'Chameleon, ms', 'times as fast', 'PyTorch, MiB', 'Chameleon, MiB'];
  const cells = rows.map((row) => [row.kind, row.precision, Math.round(row.pytorchMs), Math.round(row.chameleonMs), times(row.ratio), row.pytorchPeakMiB, row.chameleonPeakMiB]);
  return `${table([header, ...cells])}

A step of ${arch}, ${size} px, batch ${batch}, ${threads} threads, Adam, on libtorch ${versions.libtorch} against PyTorch ${versions.pytorch} (${compiled ? 'torch.compile' : 'eager'}, autocast, channels_last), in alternating blocks of one run; peak memory
above the imports. ${machine.replace(/, load.*/, '')}. Made by \`${command}\`.`;
}

/** Each of ResNet34's convolutions of 3 x 3, directly and with fewer multiplications. */
export function convolutionsTable({ rows, machine, versions, batch, threads, command }) {
  const header = ['convolution', 'direct, ms', 'fewer multiplications, ms', 'times as fast', 'rounding, direct', 'rounding, fewer'];
  const cells = rows.map(({ side, channels, what, directMs, fewerMs, ratio, directError, fewerError }) => [`${side} px, ${channels} channels: ${what}`, directMs, fewerMs, times(ratio), percent(directError), percent(fewerError)]);
  return `${table([header, ...cells])}

Batch ${batch}, ${threads} threads, bfloat16, libtorch ${versions.libtorch}; rounding is |a - b| / |b| from float32's. ${machine.replace(/, load.*/, '')}. Made by \`${command}\`.`;
}

const percent = (share) => `${(100 * share).toFixed(2)} %`;

/** A row a kind of step, for the front page. */
export function shortTable({ rows }) {
  const kinds = [...new Set(rows.map(({ kind }) => kind))], precisions = [...new Set(rows.map(({ precision }) => precision))];
  const cell = (kind, precision) => {
    const row = rows.find((one) => one.kind === kind && one.precision === precision);
    return row ? `${times(row.ratio)} (${Math.round(row.chameleonMs)} ms)` : '';
  };
  return table([['step of ResNet34', ...precisions], ...kinds.map((kind) => [kind, ...precisions.map((precision) => cell(kind, precision))])]);
}

/** What was measured of the server beside a plain route with ONNX Runtime in float32. */
export function serveTable({ precision, model, machine, command, latency, throughput, overload, coldStart, memory }) {
  const rows = [
    latency && ['one request at a time, median', `${latency.oursMs.toFixed(1)} ms`, `${latency.baselineMs.toFixed(1)} ms`, `${times(latency.ratio)} times as fast`],
    throughput && [`${throughput.clients} clients, pictures a second`, throughput.oursPerSecond.toFixed(1), throughput.baselinePerSecond.toFixed(1), `${times(throughput.ratio)} times as many`],
    throughput && ['– of what decoding and the model reach without HTTP', `${Math.round(100 * throughput.ofBare)} %`, '', ''],
    overload && ['twice the load: p99 of the accepted', `${Math.round(overload.acceptedP99Ms)} ms`, '', `allowed ${Math.round(overload.allowedP99Ms)} ms; ${Object.entries(overload.statuses).map(([status, count]) => `${count} × ${status}`).join(', ')}`],
    coldStart && ['from the start of the process to ready', `${coldStart.seconds.toFixed(2)} s`, '', ''],
    memory && [`resident memory over ${memory.requests} requests`, `${Math.round(memory.residentMiB[3])} MiB, then ${Math.round(memory.residentMiB.at(-1))} MiB`, '', ''],
  ].filter(Boolean);
  return `${table([['measured', `Chameleon, ${precision}`, 'ONNX Runtime behind Express', ''], ...rows])}

${model[0].toUpperCase()}${model.slice(1)}, photographs, in turns of one run. ${machine.replace(/, load.*/, '')}. Made by \`${command}\`.`;
}

/** The server beside one that people deploy today. */
export function peersTable({ litserve, clients, versions, machine, command }) {
  const rows = Object.entries(litserve).flatMap(([precision, { oursMs, theirsMs, timesAsFast, oursPerSecond, theirsPerSecond, timesAsMany }]) => [
    [`${precision}, one request at a time, median`, `${oursMs.toFixed(1)} ms`, `${theirsMs.toFixed(1)} ms`, `${times(timesAsFast)} times as fast`],
    [`${precision}, ${clients} clients, pictures a second`, oursPerSecond.toFixed(1), theirsPerSecond.toFixed(1), `${times(timesAsMany)} times as many`],
  ]);
  return `${table([['measured', 'Chameleon', `LitServe ${versions.litserve} with PyTorch ${versions.torch}`, ''], ...rows])}

The same weights, photographs and requests, in turns of one run. ${machine.replace(/, load.*/, '')}. Made by \`${command}\`.`;
}

/** What the exchange and a worker's death cost. */
export function distributedTable({ machine, allReduce, training, ddp, recovery }) {
  const share = (part) => `${(100 * part).toFixed(1)} %`;
  const ddpOf = (precision) => ddp?.results.find((row) => row.precision === precision);
  const rows = [
    ...(training?.results ?? []).flatMap(({ precision, wire, oneMs, togetherMs, efficiency, withoutExchange, hidden }, i, all) => [
      [`step in ${precision}, gradients in ${wire}: 1 worker, 2 workers, ms`, `${Math.round(oneMs)}, ${Math.round(togetherMs)}`, ''],
      ['– pictures a second a worker, of one alone (of two without an exchange)', `${share(efficiency)} (${share(withoutExchange)})`, all.findIndex((row) => row.precision === precision) === i && ddpOf(precision) ? `DistributedDataParallel ${share(ddpOf(precision).efficiency)}` : ''],
      ["– of the exchange's time, hidden behind the way back", share(hidden), ''],
    ]),
    ...(allReduce?.results ?? []).flatMap(({ megabytes, wire, oursMs, connectionsMs, bareC10dMs, torchMs }) => [
      [`all-reduce of ${megabytes} MB of ${wire === 'float32' ? 'float32' : 'float32, as bfloat16 on the way'}, 2 processes, ms`, `${oursMs}; over a connection ${connectionsMs}`, bareC10dMs === undefined ? '' : `bare program on c10d ${bareC10dMs}, torch.distributed ${torchMs}`],
    ]),
    recovery && [`from \`kill -9\` of one of ${recovery.results.workers} workers to the others' next applied step, median of ${recovery.results.kills}, ms`, `${Math.round(recovery.results.medianMs)}`, ''],
  ].filter(Boolean);
  const commands = [...new Set([training, allReduce, ddp, recovery].filter(Boolean).map(({ command }) => `\`${command}\``))];
  return `${table([['measured', 'Chameleon', 'others'], ...rows])}

ResNet34, full fine-tuning, 8 pictures a worker, a core each. ${machine.replace(/, load.*/, '')}. Made by ${commands.join(', ')}.`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const { page, name, results, render } of PLACES) {
    await writeFile(page, withTable(await readFile(page, 'utf8'), name, render(JSON.parse(await readFile(results, 'utf8')))));
    console.log(`wrote ${page}`);
  }
}
