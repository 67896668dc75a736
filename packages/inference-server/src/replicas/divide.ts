import { readdirSync } from 'node:fs';

/** Parts of a whole number that sum to it, as equal as can be; of a number that is too small, 1 each. */
export function divide(total: number, count: number): number[] {
  const [each, rest] = [Math.floor(total / count), total % count];
  return Array.from({ length: count }, (_, i) => Math.max(1, each + (i < rest ? 1 : 0)));
}

/**
 * The GPU of each replica as CUDA_VISIBLE_DEVICES names it, in turn; empty where there is none.
 * @param visible the variable as this process has it
 * @param installed how many GPUs the machine has
 */
export function gpuOf(index: number, visible: string | undefined, installed: number): Record<string, string> {
  const gpus = visible === undefined ? Array.from({ length: installed }, (_, i) => String(i)) : visible.split(',').map((gpu) => gpu.trim()).filter((gpu) => gpu !== '');
  return gpus.length === 0 ? {} : { CUDA_VISIBLE_DEVICES: gpus[index % gpus.length]! };
}

/** NVIDIA's GPUs, as the driver lists them. */
export function countGpus(): number {
  try {
    return readdirSync('/proc/driver/nvidia/gpus').length;
  } catch {
    return 0;
  }
}
