import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type GpuReading, parseGpuFigures, visibleGpus, watchGpus } from './gpu.js';
import { until } from './testing/processes.js';
import { temporaryFolder } from './testing/small-run.js';

const A = 'GPU-22b2c6ac-2d49-4863-197c-9c469071178a', B = 'GPU-e18afb8d-1627-f8ff-2ba3-c05c5a8e9e67';

describe('the figures of GPUs', () => {
  it.each([
    ['a GPU of a driver of today', `0, ${A}, 87, 41251, 64\n`, [[0, 0.87, 41251 * 2 ** 20, 64]]],
    ['several', `0, ${A}, 0, 4, 31\n1, ${B}, 100, 81000, 71\n`, [[0, 0, 4 * 2 ** 20, 31], [1, 1, 81000 * 2 ** 20, 71]]],
    ['one in parts, whose use nobody knows', `0, ${A}, [N/A], 12, 33\n`, [[0, null, 12 * 2 ** 20, 33]]],
    ['an older driver', `0, ${A}, [Not Supported], 2004, 44\n`, [[0, null, 2004 * 2 ** 20, 44]]],
    ['one between the two', `0, ${A}, N/A, 2004, N/A\n`, [[0, null, 2004 * 2 ** 20, null]]],
    ['one that has lost its GPU', `0, ${A}, [Unknown Error], [GPU requires reset], ERR!\n`, [[0, null, null, null]]],
    ['one that keeps units, on Windows', `0, ${A}, 5 %, 300 MiB, 40\r\n`, [[0, 0.05, 300 * 2 ** 20, 40]]],
    ['a warning before the figures', `WARNING: infoROM is corrupted at gpu 0000:3B:00.0\n0, ${A}, 1, 2, 3\n`, [[0, 0.01, 2 ** 21, 3]]],
    ['no device', 'No devices were found\n', []],
    ['no driver', "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n\n", []],
    ['a driver of another version than its library', 'Failed to initialize NVML: Driver/library version mismatch\n', []],
    ['a field that an ancient driver lacks', 'Field "temperature.gpu" is not a valid field to query.\n', []],
    ['nothing', '', []],
  ])('are read from the words of %s', (_, text, expected) => {
    expect(parseGpuFigures(text).map(({ index, utilization, memoryBytes, temperatureCelsius }) => [index, utilization, memoryBytes, temperatureCelsius])).toEqual(expected);
  });

  it('are those that CUDA_VISIBLE_DEVICES leaves', () => {
    const all = parseGpuFigures(`0, ${A}, 1, 2, 3\n1, ${B}, 1, 2, 3\n`);
    const seen = (visible: string | undefined) => visibleGpus(all, visible).map(({ index }) => index);
    expect([undefined, '0,1', '1', '1,0', '1,1', '1,9,0', '-1', '', 'GPU-E18A', `${B},0`, 'MIG-22b2c6ac', 'NoDevFiles'].map(seen)).toEqual([[0, 1], [0, 1], [1], [1, 0], [1], [1], [], [], [1], [1, 0], [], []]);
  });

  it('come from the tool in PATH, again and again, and not at all where there is none', async () => {
    await using folder = await temporaryFolder();
    const tool = join(folder.path, 'nvidia-smi');
    await writeFile(tool, `#!/bin/sh\n[ "$*" = "--query-gpu=index,uuid,utilization.gpu,memory.used,temperature.gpu --format=csv,noheader,nounits" ] && echo "0, ${A}, 87, 41251, 64"\n`);
    await chmod(tool, 0o755);
    const told: GpuReading[][] = [];
    const environment = { PATH: `${folder.path}:/bin:/usr/bin`, CUDA_VISIBLE_DEVICES: '0' };
    {
      using watch = watchGpus((readings) => told.push(readings), { environment, askMs: 10 });
      await until('it was asked twice', () => told.length >= 2);
      expect(watch).toBeDefined();
    }
    expect(told[1]).toEqual([{ index: 0, uuid: A, utilization: 0.87, memoryBytes: 41251 * 2 ** 20, temperatureCelsius: 64 }]);
    await rm(tool);
    told.length = 0;
    using silent = watchGpus((readings) => told.push(readings), { environment: { PATH: folder.path }, askMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect([silent !== undefined, told]).toEqual([true, []]);
  });
});
