import { createReadStream } from 'node:fs';
import { open, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import type { Mistakes } from '../contract.js';

const MISTAKE_COUNT = 24;
const PICTURE_BYTES = 32 * 2 ** 20;

const predictionSchema = z.object({ path: z.string(), label: z.number().int().min(0), probabilities: z.array(z.number().nullable()) });
type Wrong = Mistakes['mistakes'][number];

/** Out of a run's `validation.jsonl`: which class was told for which, and the errors that the model was surest of. Before the first epoch is done there is nothing. */
export async function readMistakes(run: string, classes: readonly string[]): Promise<Omit<Mistakes, 'heatMaps'>> {
  const path = join(run, 'validation.jsonl');
  if (!(await stat(path).catch(() => null))) return { classes: [...classes], judgedCount: 0, wrongCount: 0, cells: [], mistakes: [] };
  const cells = new Map<string, [number, number, number]>();
  let judgedCount = 0, wrongCount = 0, index = -1;
  let surest: Wrong[] = [];
  for await (const line of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Number.POSITIVE_INFINITY })) {
    index++;
    const prediction = readPrediction(line);
    if (prediction === null) continue;
    const { label, told, probability } = prediction;
    judgedCount++;
    const key = `${label} ${told}`;
    const cell = cells.get(key) ?? [label, told, 0];
    cell[2]++;
    cells.set(key, cell);
    if (label === told) continue;
    wrongCount++;
    surest.push({ index, path: prediction.path, label, told, probability, hasPicture: false });
    if (surest.length > 8 * MISTAKE_COUNT) surest = firstOf(surest);
  }
  return { classes: [...classes], judgedCount, wrongCount, cells: [...cells.values()], mistakes: firstOf(surest) };
}

const firstOf = (mistakes: readonly Wrong[]): Wrong[] => [...mistakes].sort((a, b) => b.probability - a.probability).slice(0, MISTAKE_COUNT);

function readPrediction(line: string): { path: string; label: number; told: number; probability: number } | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  const parsed = predictionSchema.safeParse(value);
  if (!parsed.success) return null;
  const { path, label, probabilities } = parsed.data;
  let told = -1, probability = 0;
  for (const [i, p] of probabilities.entries()) if (p !== null && (told === -1 || p > probability)) [told, probability] = [i, p];
  return told === -1 ? null : { path, label, told, probability };
}

export interface Picture {
  bytes: Buffer;
  type: 'image/jpeg' | 'image/png' | 'image/webp' | 'image/gif';
}

/** A picture of the run's data, found by its first bytes. Null where there is none, it lies outside the folder, or is no picture that a browser shows. */
export async function readPicture(data: string, path: string): Promise<Picture | null> {
  const root = await realpath(data).catch(() => null);
  const file = root === null ? null : await realpath(join(root, path)).catch(() => null);
  if (root === null || file === null || !file.startsWith(root.endsWith(sep) ? root : root + sep)) return null;
  const handle = await open(file, 'r').catch(() => null);
  if (handle === null) return null;
  try {
    const found = await handle.stat();
    if (!found.isFile() || found.size > PICTURE_BYTES) return null;
    const bytes = await handle.readFile();
    const type = typeOf(bytes);
    return type === null ? null : { bytes, type };
  } finally {
    await handle.close();
  }
}

function typeOf(bytes: Buffer): Picture['type'] | null {
  const starts = (...numbers: number[]) => numbers.every((number, i) => bytes[i] === number);
  if (starts(0xff, 0xd8, 0xff)) return 'image/jpeg';
  if (starts(0x89, 0x50, 0x4e, 0x47)) return 'image/png';
  if (starts(0x47, 0x49, 0x46, 0x38)) return 'image/gif';
  if (bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP') return 'image/webp';
  return null;
}
