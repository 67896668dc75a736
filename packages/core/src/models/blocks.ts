import type { Tensor } from '@tensorflow/tfjs-core';
import { Relu } from '../modules/activation.js';
import { type Module, Sequential, chain } from '../modules/module.js';
import { relu, reluBackward, sum } from '../ops/activation.js';
import { release } from '../ops/kernels.js';
import type { Parameter, StateBuffer } from '../parameter.js';
import { type Pass, branch, sumOfGradients } from '../tape.js';
import { type BlockKind, expansion } from './architecture.js';
import type { Builder } from './builder.js';

/** y = relu(main(x) + skip(x)), where skip is x itself or a projection of it. */
export class ResidualBlock implements Module {
  constructor(readonly main: Module, readonly projection: Module | null) {}

  forward(x: Tensor, pass: Pass): Tensor {
    const main = branch(pass, (inner) => this.main.forward(x, inner));
    const skip = branch(pass, (inner) => (this.projection ? this.projection.forward(x, inner) : x.clone()));
    const added = sum(main.y, skip.y);
    const y = relu(added);
    release(main.y, skip.y, added);
    if (pass.tape && (main.pullback || skip.pullback)) {
      const saved = y.clone();
      pass.tape.push((dy) => {
        const gradient = reluBackward(dy, saved);
        release(dy, saved);
        const throughSkip = skip.pullback?.(gradient.clone()) ?? null;
        const throughMain = main.pullback?.(gradient.clone()) ?? null;
        gradient.dispose();
        return sumOfGradients(throughMain, throughSkip);
      });
    }
    return y;
  }

  parameters(): Parameter[] {
    return [...this.main.parameters(), ...(this.projection?.parameters() ?? [])];
  }

  buffers(): StateBuffer[] {
    return [...this.main.buffers(), ...(this.projection?.buffers() ?? [])];
  }
}

/** torchvision's BasicBlock and Bottleneck; the latter strides in its 3 x 3 convolution. */
export function buildBlock(builder: Builder, kind: BlockKind, name: string, inputs: number, width: number, strides: number): { block: ResidualBlock; outputs: number; modules: Module[] } {
  const outputs = width * expansion(kind);
  const sizes: [inputs: number, outputs: number, size: number, strides: number][] =
    kind === 'basic'
      ? [[inputs, width, 3, strides], [width, width, 3, 1]]
      : [[inputs, width, 1, 1], [width, width, 3, strides], [width, outputs, 1, 1]];
  const main = sizes.flatMap(([from, to, size, step], i) => {
    const layer: Module[] = [builder.conv(`${name}.conv${i + 1}`, from, to, size, step), builder.batchNorm(`${name}.bn${i + 1}`, to)];
    return i < sizes.length - 1 ? [...layer, new Relu()] : layer;
  });
  const projection = strides !== 1 || inputs !== outputs ? [builder.conv(`${name}.downsample.0`, inputs, outputs, 1, strides), builder.batchNorm(`${name}.downsample.1`, outputs)] : [];
  return { block: new ResidualBlock(new Sequential(main), projection.length > 0 ? new Sequential(projection) : null), outputs, modules: [...main, ...projection] };
}

/** A stage of blocks, of which only the first may stride. */
export class Stage implements Module {
  constructor(readonly name: string, readonly blocks: readonly Module[], readonly leaves: readonly Module[]) {}

  forward(x: Tensor, pass: Pass): Tensor {
    return chain(x, pass, this.blocks);
  }

  parameters(): Parameter[] {
    return this.leaves.flatMap((module) => module.parameters());
  }

  buffers(): StateBuffer[] {
    return this.leaves.flatMap((module) => module.buffers());
  }
}
