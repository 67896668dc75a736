import { INT32 } from '../addon.js';
import { defineKernel } from '../kernel.js';

/** The k largest of the last axis and where they stood; of equals the first. A stable sort, for ATen's topk leaves open which of equals comes first. */
export function registerTopK(): void {
  defineKernel<{ k: number; sorted: boolean }>('TopK', (scope, { x }, { k }) => {
    const [values, indices] = scope.atenAll('aten::sort.stable', scope.handle(x!), true, -1, true) as [number, number];
    const first = (t: number) => scope.aten('aten::narrow', t, -1, 0, k);
    return [scope.output(scope.aten('aten::contiguous', first(values)), x!.dtype), scope.output(scope.aten('aten::to.dtype', first(indices), INT32), 'int32')];
  });
}
