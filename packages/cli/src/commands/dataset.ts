import { join } from 'node:path';
import { UserError } from '@chameleon/core';
import { DEFAULT_SHARD_BYTES, checkDataset, drawDataset, packShards, prepareDataset } from '@chameleon/data';
import type { Command } from 'commander';
import { atLeastOne } from '../distributed-settings.js';
import { interruption } from '../interruption.js';
import { Progress, print, printJson, table } from '../output.js';
import { type Given, integer } from '../settings.js';

export function addDataset(program: Command): void {
  const dataset = program.command('dataset').description('Draw, unpack, pack or check a folder of class folders.');
  dataset
    .command('synth <folder>')
    .description('Draw the demo data set: people in camouflage and in other clothes.')
    .option('--count <n>', 'pictures of both classes together', integer, 1200)
    .option('--size <px>', 'side of a picture', integer, 160)
    .option('--seed <n>', 'the same seed draws the same pictures', integer, 0)
    .addHelpText('after', '\nExample:\n  chameleon dataset synth drawn --count 1200 --seed 1')
    .action(async (folder: string, given: Given) => {
      using stop = interruption();
      const progress = new Progress();
      const { counts } = await drawDataset(folder, { count: given['count'] as number, size: given['size'] as number, seed: given['seed'] as number, signal: stop.signal, onProgress: (done, total) => progress.update('drawing', done, total) });
      progress.clear();
      for (const [label, count] of Object.entries(counts)) print(`${folder}/${label}  ${count} pictures`);
    });
  dataset
    .command('prepare <kind> <source> <folder>')
    .description("Unpack an archive (.zip, .tar, .tar.gz) that holds class folders, or pack class folders into shards. Kinds: camouflage, Kaggle's archive as it comes; folders, any other; shards, packs a folder.")
    .option('--shard-size <MB>', `bytes of a shard at most, unless one picture has more (default: ${DEFAULT_SHARD_BYTES / 1e6})`, atLeastOne)
    .addHelpText('after', `
Shards are tar files with an index, for object stores and shared file systems. They are given to --data as the folder was.

Examples:
  chameleon dataset prepare camouflage archive.zip camouflage
  chameleon dataset prepare shards photos photos-shards --shard-size 512`)
    .action((kind: string, source: string, folder: string, given: Given) => runPrepare(kind, source, folder, given));
  dataset
    .command('check <folder>')
    .description('Decode every picture: list bad files, duplicates, leaks between train and valid, and imbalance.')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', '\nExample:\n  chameleon dataset check photos')
    .action((folder: string, given: Given) => runCheck(folder, given));
}

async function runPrepare(kind: string, source: string, folder: string, given: Given): Promise<void> {
  const shardSize = given['shardSize'] as number | undefined;
  if (kind !== 'shards' && shardSize !== undefined) throw new UserError(`--shard-size is for packing: \`dataset prepare shards\`, not ${kind}.`, { exitCode: 2 });
  using stop = interruption();
  const progress = new Progress();
  const options = (what: string) => ({ signal: stop.signal, onProgress: (done: number, total: number) => progress.update(what, done, total) });
  if (kind === 'shards') {
    const { shards } = await packShards(source, folder, { ...options('packing'), ...(shardSize === undefined ? {} : { shardBytes: shardSize * 1e6 }) });
    progress.clear();
    for (const { file, bytes, entries } of shards) print(`${join(folder, file)}  ${entries.length} pictures, ${(bytes / 1e6).toFixed(1)} MB`);
  } else {
    const { counts } = await prepareDataset(kind, source, folder, options('unpacking'));
    progress.clear();
    for (const [label, count] of Object.entries(counts)) print(`${folder}/${label}  ${count} pictures`);
  }
}

async function runCheck(folder: string, given: Given): Promise<void> {
  using stop = interruption();
  const progress = new Progress(process.stderr.isTTY && given['json'] !== true);
  const found = await checkDataset(folder, { signal: stop.signal, onProgress: (done, total) => progress.update('decoding', done, total) });
  progress.clear();
  if (found.bad.length > 0 || found.leaks.length > 0) process.exitCode = 1;
  if (given['json'] === true) return printJson(found);
  print(table([['class', 'train', 'valid'], ...found.classes.map(({ label, train, valid }) => [label, String(train), String(valid)])]));
  for (const { path, reason } of found.bad) print(`bad        ${path} ${reason}`);
  for (const group of found.duplicates) print(`duplicates ${group.join(', ')}`);
  for (const group of found.leaks) print(`leak       ${group.join(', ')}`);
  print(found.bad.length + found.leaks.length === 0 ? 'Every picture can be read, and none stands on both sides.' : `${found.bad.length} bad files, ${found.leaks.length} leaks.`);
}
