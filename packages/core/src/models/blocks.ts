import type { Tensor } from '@tensorflow/tfjs-core';
import { ConvolutionUnit, type Summand } from '../modules/convolution-unit.js';
import { type Module, chain, consumeAll } from '../modules/module.js';
import type { Parameter, StateBuffer } from '../parameter.js';
import { type Pass, branch, sumOfGradients } from '../tape.js';
import { type BlockKind, expansion } from './architecture.js';
import type { Builder } from './builder.js';

/** y = relu(last(before(x)) + skip(x)), where skip is x itself or a projection of it. */
export class ResidualBlock implements Module {
  constructor(readonly before: readonly ConvolutionUnit[], readonly last: ConvolutionUnit, readonly projection: ConvolutionUnit | null) {}

  forward(x: Tensor, pass: Pass): Tensor {
    return this.consume(x.clone(), pass);
  }

  consume(x: Tensor, pass: Pass): Tensor {
    const skip = branch(pass, (inner) => (this.projection ? this.projection.forward(x, inner) : x.clone()));
    let ofSum: Tensor | null = null;
    const summand: Summand = { value: skip.y, onGradient: skip.pullback && ((gradient) => (ofSum = gradient)) };
    const main = branch(pass, (inner) => {
      const between = chain(x, inner, this.before);
      x.dispose();
      const y = this.last.forward(between, inner, summand);
      between.dispose();
      return y;
    });
    skip.y.dispose();
    if (pass.tape && main.pullback) {
      pass.tape.push((dy) => {
        const throughMain = main.pullback!(dy);
        return sumOfGradients(throughMain, ofSum && skip.pullback!(ofSum));
      });
    }
    return main.y;
  }

  parameters(): Parameter[] {
    return [...this.before, this.last, ...(this.projection ? [this.projection] : [])].flatMap((unit) => unit.parameters());
  }

  buffers(): StateBuffer[] {
    return [...this.before, this.last, ...(this.projection ? [this.projection] : [])].flatMap((unit) => unit.buffers());
  }
}

/** torchvision's BasicBlock and Bottleneck; the latter strides in its 3 x 3 convolution. */
export function buildBlock(builder: Builder, kind: BlockKind, name: string, inputs: number, width: number, strides: number): { block: ResidualBlock; outputs: number; modules: Module[] } {
  const outputs = width * expansion(kind);
  const sizes: [inputs: number, outputs: number, size: number, strides: number][] =
    kind === 'basic'
      ? [[inputs, width, 3, strides], [width, width, 3, 1]]
      : [[inputs, width, 1, 1], [width, width, 3, strides], [width, outputs, 1, 1]];
  const unit = (conv: string, norm: string, from: number, to: number, size: number, step: number, positive: boolean) => new ConvolutionUnit(builder.conv(conv, from, to, size, step), builder.batchNorm(norm, to), positive);
  const main = sizes.map(([from, to, size, step], i) => unit(`${name}.conv${i + 1}`, `${name}.bn${i + 1}`, from, to, size, step, i < sizes.length - 1));
  const projection = strides !== 1 || inputs !== outputs ? unit(`${name}.downsample.0`, `${name}.downsample.1`, inputs, outputs, 1, strides, false) : null;
  const block = new ResidualBlock(main.slice(0, -1), main.at(-1)!, projection);
  return { block, outputs, modules: [...main, ...(projection ? [projection] : [])].flatMap(({ conv, norm }): Module[] => [conv, norm]) };
}

/** A stage of blocks, of which only the first may stride. */
export class Stage implements Module {
  constructor(readonly name: string, readonly blocks: readonly Module[], readonly leaves: readonly Module[]) {}

  forward(x: Tensor, pass: Pass): Tensor {
    return chain(x, pass, this.blocks);
  }

  consume(x: Tensor, pass: Pass): Tensor {
    return consumeAll(x, pass, this.blocks);
  }

  parameters(): Parameter[] {
    return this.leaves.flatMap((module) => module.parameters());
  }

  buffers(): StateBuffer[] {
    return this.leaves.flatMap((module) => module.buffers());
  }
}
