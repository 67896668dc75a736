import { type Classifier, type Precision, UserError, createClassifier, loadStateDict } from '@chameleon/core';
import { type Dataset, PictureLoader, openForJudging } from '@chameleon/data';
import { evaluate, openStartWeights, writeWhole } from '@chameleon/trainer';
import type { Command } from 'commander';
import { resolvePrecision, startEngine } from '../engine.js';
import { interruption } from '../interruption.js';
import { Progress, print, printJson } from '../output.js';
import { chooseArchitecture } from '../prepare-run.js';
import { openNamedModel } from './predict.js';
import { ENGINE_SETTINGS, type Given, integer, withSettings } from '../settings.js';

export function addEvaluate(program: Command): void {
  withSettings(program.command('evaluate'), ENGINE_SETTINGS)
    .description("Judge a trained model, or a state dictionary with its own classifier, on a folder of class folders.")
    .requiredOption('--data <folder>', 'class folders, in the order of the classes; of train/ and valid/ folders the second is judged')
    .option('--model <run>', 'a run, or a model folder')
    .option('--weights <name>', 'a state dictionary instead: a file or a name')
    .option('--arch <name>', 'the architecture of --weights (default: what they are of)')
    .option('--image-size <px>', 'side of the pictures (default: the model\'s, else 224)', integer)
    .option('--resize <px>', 'what the shorter side becomes before the centre crop (default: 256 / 224 of --image-size)', integer)
    .option('--predictions <file>', 'write what was said of each picture, a line of JSON each')
    .option('--out <folder>', 'where run directories are', 'runs')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', `
Examples:
  chameleon evaluate --model last --data photos
  chameleon evaluate --weights resnet50.pth --arch resnet50 --data imagenet/val
  chameleon evaluate --weights small.safetensors --data thumbnails --image-size 64 --resize 64`)
    .action((given: Given) => runEvaluate(given));
}

async function runEvaluate(given: Given): Promise<void> {
  using stop = interruption();
  const engine = await startEngine(given);
  const { model, classCount, imageSize: ownSize } = await openJudged(given);
  const precision = resolvePrecision((given['precision'] as Precision | undefined) ?? 'auto', engine);
  const imageSize = (given['imageSize'] as number | undefined) ?? ownSize;
  const shorterSide = given['resize'] as number | undefined;
  if (shorterSide !== undefined && shorterSide < imageSize) throw new UserError(`--resize ${shorterSide} leaves less than the ${imageSize} px that are cut out. Give at least ${imageSize}, or a smaller --image-size.`, { exitCode: 2 });
  const dataset = await openForJudging(given['data'] as string, { signal: stop.signal });
  if (dataset.classes.length !== classCount) throw new UserError(`The model tells ${classCount} classes apart, ${dataset.root} has ${dataset.classes.length}.`);
  await using loader = new PictureLoader(dataset, { imageSize, ...(shorterSide === undefined ? {} : { shorterSide }) });
  const progress = new Progress(process.stderr.isTTY && given['json'] !== true);
  try {
    const result = await evaluate(model, loader, { precision, imageSize, signal: stop.signal, onProgress: (done) => progress.update('pictures', done, dataset.valid.length) });
    progress.clear();
    const top5 = topShare(result.probabilities, result.indices, dataset, classCount, 5);
    if (typeof given['predictions'] === 'string') await writeWhole(given['predictions'], lines(result, dataset, classCount));
    const summary = { top1: result.accuracy, ...(classCount > 5 ? { top5 } : {}), correct: result.correctCount, pictures: result.pictureCount, loss: result.loss, precision, imageSize, backend: engine.description };
    if (given['json'] === true) return printJson(summary);
    print(`top-1 ${result.accuracy.toFixed(4)}${classCount > 5 ? `, top-5 ${top5.toFixed(4)}` : ''} (${result.correctCount} of ${result.pictureCount} pictures), loss ${result.loss.toFixed(4)}`);
  } finally {
    model.dispose();
  }
}

async function openJudged(given: Given): Promise<{ model: Classifier; classCount: number; imageSize: number }> {
  if (typeof given['model'] === 'string') {
    const { model, card } = await openNamedModel(given['model'], given['out'] as string);
    return { model, classCount: card.classes.length, imageSize: card.imageSize };
  }
  if (typeof given['weights'] !== 'string') throw new UserError('Say what to judge: --model RUN, or --weights FILE.', { exitCode: 2 });
  const weights = await openStartWeights(given['weights']);
  if (weights.tensors === null) throw new UserError('Random weights have learnt nothing that could be judged.', { exitCode: 2 });
  const architecture = chooseArchitecture(given['arch'] as string | undefined, weights);
  const bias = weights.tensors.get('fc.bias') ?? weights.tensors.get('module.fc.bias');
  if (!bias) throw new UserError(`${weights.name} have no classifier of their own (fc.bias): nothing could be judged.`);
  const model = createClassifier({ architecture: architecture.name, classCount: bias.shape[0]!, head: 'linear', seed: 0, bodyIsLoaded: true });
  loadStateDict(model, weights.tensors, { scope: 'all', name: weights.name });
  return { model, classCount: bias.shape[0]!, imageSize: architecture.width < 64 ? 64 : 224 };
}

function topShare(probabilities: Float32Array, indices: Int32Array, dataset: Dataset, classCount: number, k: number): number {
  let hits = 0;
  indices.forEach((index, row) => {
    const own = probabilities[row * classCount + dataset.valid[index]!.label]!;
    let above = 0;
    for (let c = 0; c < classCount; c++) if (probabilities[row * classCount + c]! > own) above++;
    if (above < k) hits++;
  });
  return hits / indices.length;
}

function lines({ indices, probabilities }: { indices: Int32Array; probabilities: Float32Array }, dataset: Dataset, classCount: number): string {
  return Array.from(indices, (index, row) => {
    const own = probabilities.subarray(row * classCount, (row + 1) * classCount);
    const predicted = own.reduce((best, p, i) => (p > own[best]! ? i : best), 0);
    return `${JSON.stringify({ ...dataset.valid[index], predicted, probability: own[predicted] })}\n`;
  }).join('');
}
