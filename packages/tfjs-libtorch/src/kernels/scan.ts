import type { Handle } from '../addon.js';
import { type KernelScope, defineKernel, scalarType } from '../kernel.js';

interface ScanAttrs { axis: number; exclusive: boolean; reverse: boolean }

/** Sums and products over all that stands before (with `reverse` after) a value along an axis, the value itself included unless `exclusive`. */
export function registerScans(): void {
  for (const [kernel, operator, neutral] of [['Cumsum', 'aten::cumsum', 0], ['Cumprod', 'aten::cumprod', 1]] as const) {
    defineKernel<ScanAttrs>(kernel, (scope, { x }, { axis, exclusive, reverse }) => {
      const rank = x!.shape.length, length = x!.shape[axis]!;
      const turned = (t: Handle) => (reverse ? scope.aten('aten::flip', t, [axis]) : t);
      let y = scope.aten(operator, turned(scope.handle(x!)), axis, scalarType(x!.dtype));
      if (exclusive && length > 0) y = shifted(scope, y, rank, axis, length, neutral);
      return scope.output(turned(y), x!.dtype, x!.shape);
    });
  }
}

/** Each value one place further along the axis. */
function shifted(scope: KernelScope, y: Handle, rank: number, axis: number, length: number, first: number): Handle {
  const padding = Array<number>(2 * (rank - axis)).fill(0);
  padding[2 * (rank - axis) - 2] = 1;
  return scope.aten('aten::constant_pad_nd', scope.aten('aten::narrow', y, axis, 0, length - 1), padding, first);
}
