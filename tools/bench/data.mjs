import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DEFAULT_AUGMENTATION, PictureLoader, openDataset } from '@chameleon/data';
import { facts } from './serve/facts.mjs';
import { publish } from './serve/results.mjs';
import { median } from './serve/statistics.mjs';
import { startLineProcess } from './train/line-process.mjs';

/** Pictures a second, decoded and augmented: our loader against torchvision's DataLoader with PIL, in turns on the same cores. */

export const HELP = `Usage: npm run bench -- data [options]

JPEG files to normalised batches of RandomResizedCrop and flips: @chameleon/data's threads, without and with its cache of decoded
pictures, against torchvision's DataLoader with PIL and as many worker processes, epoch by epoch in turns. Needs CHAMELEON_TEST_DATA, for its
photographs, or --pictures, a build, and a Python with torchvision.

  --pictures DIR   a folder of class folders (default: images/hymenoptera/train of CHAMELEON_TEST_DATA)
  --epochs N       of each (default: 5), after one of each that isn't counted
  --workers N      threads, and processes (default: 2)
  --size PX, --batch N   (default: 224, 16)
  --python PATH    (default: /usr/bin/python3)
  --json           print the results as JSON
  --to FILE        and write them there

Example: CHAMELEON_TEST_DATA=~/data npm run bench -- data --json --to benchmarks/results/data.json
`;

const OPTIONS = {
  pictures: { type: 'string' }, epochs: { type: 'string', default: '5' }, workers: { type: 'string', default: '2' }, size: { type: 'string', default: '224' }, batch: { type: 'string', default: '16' },
  python: { type: 'string', default: '/usr/bin/python3' }, json: { type: 'boolean', default: false }, to: { type: 'string' }, help: { type: 'boolean', default: false },
};

export async function main(args) {
  const { values } = parseArgs({ args, options: OPTIONS });
  if (values.help) return void process.stdout.write(HELP);
  const pictures = values.pictures ?? (process.env.CHAMELEON_TEST_DATA && join(process.env.CHAMELEON_TEST_DATA, 'images/hymenoptera/train'));
  if (!pictures) throw new Error('Name a folder of class folders with --pictures, or set CHAMELEON_TEST_DATA.');
  const [epochs, workers, size, batch] = ['epochs', 'workers', 'size', 'batch'].map((name) => Number(values[name]));
  const { pytorch, ...measured } = await measure({ pictures, epochs, workers, size, batch, python: values.python });
  const { versions, ...machine } = await facts();
  const results = { command: ['npm run bench -- data', ...args].join(' ').replace(pictures, 'DIR'), ...machine, versions: { ...versions, torchvision: pytorch }, epochs, workers, size, batch, ...measured };
  await publish(results, values, () => `${measured.pictures} pictures, ${workers} workers: torchvision ${measured.pytorchPerSecond}/s; ours ${measured.chameleonPerSecond}/s, ${measured.ratio} times as many; with decoded pictures kept ${measured.cachedPerSecond}/s, ${measured.cachedRatio} times as many\n`);
}

async function measure({ pictures, epochs, workers, size, batch, python }) {
  const dataset = await openDataset(pictures);
  const decoding = new PictureLoader(dataset, { imageSize: size, workers, cacheBytes: 0 }), keeping = new PictureLoader(dataset, { imageSize: size, workers });
  const torch = await startLineProcess(python, [fileURLToPath(new URL('train/torch_loader.py', import.meta.url))]);
  try {
    const { version } = await torch.call('open', { folder: pictures, size, batch, workers });
    const perSecond = { pytorch: [], chameleon: [], cached: [] };
    for (let epoch = 0; epoch <= epochs; epoch++) {
      const turns = { pytorch: await torch.call('epoch'), chameleon: await oneEpoch(decoding, epoch, batch), cached: await oneEpoch(keeping, epoch, batch) };
      if (epoch > 0) for (const [who, { pictures, seconds }] of Object.entries(turns)) perSecond[who].push(pictures / seconds);
    }
    const ratio = (ours) => round(median(ours.map((value, i) => value / perSecond.pytorch[i])), 2);
    const { pytorch: theirs, chameleon, cached } = perSecond;
    return { pytorch: version, pictures: dataset.train.length, pytorchPerSecond: round(median(theirs)), chameleonPerSecond: round(median(chameleon)), ratio: ratio(chameleon), cachedPerSecond: round(median(cached)), cachedRatio: ratio(cached) };
  } finally {
    await torch.stop();
    await Promise.all([decoding.close(), keeping.close()]);
  }
}

async function oneEpoch(loader, epoch, batchSize) {
  const start = performance.now();
  let pictures = 0;
  for await (const { rows } of loader.train({ seed: 1, epoch, batchSize, augmentation: DEFAULT_AUGMENTATION })) pictures += rows;
  return { pictures, seconds: (performance.now() - start) / 1000 };
}

const round = (value, digits = 1) => Number(value.toFixed(digits));
