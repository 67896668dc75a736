import { type Tensor, type Tensor2D, add, matMul, sum } from '@tensorflow/tfjs-core';

/** x [batch, in], weight [out, in], bias [out]: torch.nn.functional.linear. */
export function linear(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const product = matMul(x as Tensor2D, weight as Tensor2D, false, true);
  try {
    return add(product, bias);
  } finally {
    product.dispose();
  }
}

export const linearInputGradient = (dy: Tensor, weight: Tensor): Tensor => matMul(dy as Tensor2D, weight as Tensor2D);
export const linearWeightGradient = (dy: Tensor, x: Tensor): Tensor => matMul(dy as Tensor2D, x as Tensor2D, true, false);
export const linearBiasGradient = (dy: Tensor): Tensor => sum(dy, 0);
