import { checkDataset, drawDataset, prepareDataset } from '@chameleon/data';
import type { Command } from 'commander';
import { interruption } from '../interruption.js';
import { Progress, print, printJson, table } from '../output.js';
import { type Given, integer } from '../settings.js';

export function addDataset(program: Command): void {
  const dataset = program.command('dataset').description('Draw, unpack or check a folder of class folders.');
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
    .command('prepare <kind> <archive> <folder>')
    .description("Unpack an archive (.zip, .tar, .tar.gz) that holds class folders. Kinds: camouflage, Kaggle's archive as it comes; folders, any other.")
    .addHelpText('after', '\nExample:\n  chameleon dataset prepare camouflage archive.zip camouflage')
    .action(async (kind: string, archive: string, folder: string) => {
      using stop = interruption();
      const progress = new Progress();
      const { counts } = await prepareDataset(kind, archive, folder, { signal: stop.signal, onProgress: (done, total) => progress.update('unpacking', done, total) });
      progress.clear();
      for (const [label, count] of Object.entries(counts)) print(`${folder}/${label}  ${count} pictures`);
    });
  dataset
    .command('check <folder>')
    .description('Decode every picture: list bad files, duplicates, leaks between train and valid, and imbalance.')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', '\nExample:\n  chameleon dataset check photos')
    .action((folder: string, given: Given) => runCheck(folder, given));
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
