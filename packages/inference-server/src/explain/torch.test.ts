import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { preprocess } from '@chameleon/data';
import { describe, expect, test } from 'vitest';
import { ServedModel } from '../compute/served-model.js';
import { temporaryFolder, useLibtorch, writeRealModel } from '../testing/models.js';
import { hasTorchvision, torchvision } from '../testing/torch.js';

const data = process.env.CHAMELEON_TEST_DATA;

/** Grad-CAM as its paper has it: autograd's gradient of the class's logit by layer4's output, averaged over the positions. */
const GRAD_CAM = `
state, _ = read_safetensors(given['file'])
model = torchvision.models.resnet18(num_classes=200)
missing, unexpected = model.load_state_dict(state, strict=False)
assert not unexpected and all(name.endswith('num_batches_tracked') for name in missing)
model.eval()
kept = []
def keep(module, inputs, output):
    output.retain_grad()
    kept.append(output)
model.layer4.register_forward_hook(keep)
answer = []
for pixels in given['pixels']:
    kept.clear()
    logits = model(torch.tensor(pixels).reshape(1, given['size'], given['size'], 3).permute(0, 3, 1, 2))
    best = int(logits[0].argmax())
    logits[0, best].backward()
    features = kept[0]
    heat = (features.grad.mean((2, 3), keepdim=True) * features).sum(1)[0].relu()
    answer.append({'best': best, 'heat': (heat / heat.max()).flatten().tolist()})`;

describe.skipIf(!data || !hasTorchvision)('Grad-CAM (set CHAMELEON_TEST_DATA, and install python3-torchvision, to run)', () => {
  test('of 20 photographs is PyTorch\'s', async () => {
    await using folder = await temporaryFolder();
    const card = await writeRealModel(folder.path, data!);
    await useLibtorch();
    const served = await ServedModel.open(folder.path, 'float32');
    const photographs = await Promise.all(['ants', 'bees'].map(async (label) => (await readdir(join(data!, 'images/hymenoptera/val', label))).sort().slice(0, 10).map((name) => join(data!, 'images/hymenoptera/val', label, name))));
    const pixels = await Promise.all(photographs.flat().map((path) => preprocess(path, card.imageSize, card.normalization)));
    const expected = torchvision<{ best: number; heat: number[] }[]>(GRAD_CAM, { file: join(folder.path, 'model.safetensors'), size: card.imageSize, pixels: pixels.map((picture) => [...picture]) });
    expect(expected.length).toBe(20);
    pixels.forEach((picture, i) => {
      const { classIndex, heat } = served.explain(picture, null);
      expect(classIndex).toBe(expected[i]!.best);
      expect(heat.values.length).toBe(expected[i]!.heat.length);
      expected[i]!.heat.forEach((value, position) => expect(Math.abs(heat.values[position]! - value)).toBeLessThan(1e-3));
    });
    served.dispose();
  });
});
