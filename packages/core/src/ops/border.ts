import { type Tensor, getBackend, pad, slice, tidy } from '@tensorflow/tfjs-core';

/** TF.js's binding of TensorFlow takes no paddings by number: there a tensor gets its border first, and the operator pads nothing. */
export const needsBorder = (padding: number): boolean => padding > 0 && getBackend() === 'tensorflow';

/** [batch, height, width, channels] with `padding` pixels more on each side. */
export const border = (x: Tensor, padding: number, value = 0): Tensor => pad(x, [[0, 0], [padding, padding], [padding, padding], [0, 0]], value);

/** The shape with a border. */
export const bordered = ([batch, height, width, channels]: number[], padding: number): number[] => [batch!, height! + 2 * padding, width! + 2 * padding, channels!];

/** What `f` makes, without its border. */
export const withoutBorder = (padding: number, f: () => Tensor): Tensor => tidy(() => {
  const x = f(), [batch, height, width, channels] = x.shape as [number, number, number, number];
  return slice(x, [0, padding, padding, 0], [batch, height - 2 * padding, width - 2 * padding, channels]);
});
