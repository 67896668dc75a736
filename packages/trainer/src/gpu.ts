import { execFile } from 'node:child_process';

/**
 * What NVIDIA's own tool says of the GPUs that this process may use. A machine without the tool has no figures, and hears nothing of it.
 * The tool is asked beside the work, never twice at a time: one that hangs with its driver holds nothing else up.
 */
export interface GpuReading {
  /** As nvidia-smi counts, by PCI bus. */
  index: number;
  uuid: string;
  /** Share of the last moment in which something computed; null where the driver doesn't say, as for a GPU in parts (MIG). */
  utilization: number | null;
  memoryBytes: number | null;
  temperatureCelsius: number | null;
}

const FIELDS = ['index', 'uuid', 'utilization.gpu', 'memory.used', 'temperature.gpu'];
const MEBIBYTE = 2 ** 20;
const ASK_MS = 5_000, TIMEOUT_MS = 10_000;
/** After the driver couldn't be reached. */
const FAILED_MS = 60_000;

/** What `--format=csv,noheader,nounits` printed for FIELDS. Lines that are no GPU (warnings, errors) are passed over. */
export function parseGpuFigures(text: string): GpuReading[] {
  return text.split('\n').flatMap((line): GpuReading[] => {
    const cells = line.split(',').map((cell) => cell.trim());
    const [index = '', uuid = '', utilization, memory, temperature] = cells;
    if (cells.length !== FIELDS.length || !/^\d+$/.test(index) || !/^GPU-[\da-f-]+$/i.test(uuid)) return [];
    const percent = figure(utilization), mebibytes = figure(memory);
    return [{ index: Number(index), uuid, utilization: percent === null ? null : percent / 100, memoryBytes: mebibytes === null ? null : mebibytes * MEBIBYTE, temperatureCelsius: figure(temperature) }];
  });
}

/** Drivers write [N/A], N/A, [Not Supported], [Unknown Error] or [GPU requires reset] for what they don't know; older ones keep the unit. */
function figure(cell = ''): number | null {
  const found = /^(\d+(?:\.\d+)?)(?: ?(?:%|MiB|C))?$/.exec(cell);
  return found ? Number(found[1]) : null;
}

/**
 * The GPUs that CUDA_VISIBLE_DEVICES leaves: indices, or the beginnings of UUIDs; what follows an entry that is none counts no more, as in
 * CUDA. A part of a GPU (MIG) has no figures of its own here.
 */
export function visibleGpus(readings: readonly GpuReading[], visible: string | undefined): GpuReading[] {
  if (visible === undefined) return [...readings];
  const chosen: GpuReading[] = [];
  for (const entry of visible.split(',').map((part) => part.trim())) {
    const found = /^\d+$/.test(entry) ? readings.find(({ index }) => index === Number(entry)) : /^GPU-/i.test(entry) ? readings.find(({ uuid }) => uuid.toLowerCase().startsWith(entry.toLowerCase())) : undefined;
    if (!found) break;
    if (!chosen.includes(found)) chosen.push(found);
  }
  return chosen;
}

/** Tells of the GPUs every few seconds until it is disposed. */
export function watchGpus(tell: (readings: GpuReading[]) => void, { environment = process.env, askMs = ASK_MS }: { environment?: NodeJS.ProcessEnv; askMs?: number } = {}): Disposable {
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const ask = () => {
    execFile('nvidia-smi', [`--query-gpu=${FIELDS.join(',')}`, '--format=csv,noheader,nounits'], { timeout: TIMEOUT_MS, signal: stop.signal, env: environment }, (error, text) => {
      if (stop.signal.aborted || (error as NodeJS.ErrnoException | null)?.code === 'ENOENT') return;
      tell(visibleGpus(parseGpuFigures(text), environment['CUDA_VISIBLE_DEVICES']));
      timer = setTimeout(ask, error ? FAILED_MS : askMs);
      timer.unref();
    });
  };
  ask();
  return {
    [Symbol.dispose]: () => {
      stop.abort();
      clearTimeout(timer);
    },
  };
}
