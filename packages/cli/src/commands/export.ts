import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '@chameleon/core';
import { PictureReader, drawDataset, hasPictureName, manifestSchema } from '@chameleon/data';
import { EXPORT_FORMATS, type ExportFormat, exportModel } from '@chameleon/inference-server';
import { FILES, VERSION, readConfig } from '@chameleon/trainer';
import { type Command, Option } from 'commander';
import { startEngine } from '../engine.js';
import { print, printJson } from '../output.js';
import { ENGINE_SETTINGS, type Given, withSettings } from '../settings.js';
import { findModels } from './serve.js';

/** Pictures that both networks are asked about, at most. */
const MOST_PICTURES = 64, DRAWN_PICTURES = 16;

export function addExport(program: Command): void {
  withSettings(program.command('export [run]'), ENGINE_SETTINGS.filter(({ flags }) => !flags.startsWith('--precision')))
    .description('Write a trained model (default: the newest run) for PyTorch, ONNX Runtime or a browser. It is compared with ours first, and refused when it answers otherwise.')
    .addOption(new Option('--to <format>', "safetensors: torchvision's state dictionary; onnx: ONNX Runtime and most others; tfjs: a TensorFlow.js graph model").choices(EXPORT_FORMATS).makeOptionMandatory().env('CHAMELEON_TO'))
    .option('--into <folder>', 'the folder that is made (default: export/<format> beside the model)')
    .option('--pictures <folder>', "pictures to compare on (default: the run's validation pictures, else drawn ones)")
    .option('--out <folder>', 'where run directories are', 'runs')
    .option('--json', 'print the comparison as JSON')
    .addHelpText('after', `
Examples:
  chameleon export last --to onnx
  chameleon export runs/20261125-demo --to tfjs --into public/model
  chameleon export last --to safetensors --pictures photos`)
    .action(async (run: string | undefined, given: Given) => {
      const [{ path }] = (await findModels(run === undefined ? [] : [run], given['out'] as string)) as [{ path: string }];
      await startEngine(given);
      const format = given['to'] as ExportFormat, to = (given['into'] as string | undefined) ?? join(path, 'export', format);
      const { parity, files } = await withPictures(path, given['pictures'] as string | undefined, (pictures) => exportModel({ from: path, format, to, pictures, version: VERSION }));
      if (given['json'] === true) return printJson({ folder: to, files, ...parity });
      print(`${to}: ${files.join(', ')}`);
      print(`The same answers on ${parity.pictures} pictures: probabilities differ by ${parity.largestDifference.toExponential(1)} at most, ${(100 * parity.top1Agreement).toFixed(0)} % have the same class.`);
    });
}

/** The pictures of a folder that was named, else those that the run was judged by, else drawn ones. */
async function withPictures<Result>(run: string, folder: string | undefined, work: (pictures: (string | Uint8Array)[]) => Promise<Result>): Promise<Result> {
  if (folder !== undefined) return work(await picturesIn(folder));
  const judgedBy = await validationPictures(run);
  if (judgedBy.length > 0) return work(judgedBy);
  const temporary = await mkdtemp(join(tmpdir(), 'chameleon-export-'));
  try {
    await drawDataset(join(temporary, 'drawn'), { count: DRAWN_PICTURES });
    return await work(await picturesIn(join(temporary, 'drawn')));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** The files in a folder, at any depth, or the pictures of the shards there. */
async function picturesIn(folder: string): Promise<(string | Uint8Array)[]> {
  await using reader = await PictureReader.open(folder);
  if (reader.folder.shards) return await Promise.all(spread([...reader.folder.shards.parts.keys()]).map((name) => reader.source(name)));
  const entries = await readdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new UserError(`${folder} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { cause: error, exitCode: 2 });
  });
  const pictures = entries.filter(hasPictureName).sort();
  if (pictures.length === 0) throw new UserError(`${folder} holds no pictures.`, { exitCode: 2 });
  return spread(pictures).map((name) => join(folder, name));
}

/** Those of a run that are still where they were. */
async function validationPictures(run: string): Promise<(string | Uint8Array)[]> {
  try {
    const [{ data }, manifest] = await Promise.all([readConfig(run), readFile(join(run, FILES.manifest), 'utf8').then((text) => manifestSchema.parse(JSON.parse(text)))]);
    await using reader = await PictureReader.open(data);
    const sources = await Promise.all(spread(manifest.files.filter(({ side }) => side === 'valid')).map(({ path }) => reader.source(path).catch(() => null)));
    const isThere = async (source: string | Uint8Array | null) => typeof source !== 'string' || (await stat(source).catch(() => null)) !== null;
    const there = await Promise.all(sources.map(isThere));
    return sources.filter((source, i): source is string | Uint8Array => source !== null && there[i]!);
  } catch {
    // A model folder without a run around it.
    return [];
  }
}

/** At most so many, evenly from the whole list: classes stand one after another. */
function spread<Item>(items: readonly Item[]): Item[] {
  const step = Math.max(1, items.length / MOST_PICTURES);
  return Array.from({ length: Math.min(items.length, MOST_PICTURES) }, (_, i) => items[Math.floor(i * step)]!);
}
