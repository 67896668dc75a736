import { readFile } from 'node:fs/promises';
import tQuantile from '@stdlib/stats-base-dists-t-quantile';
import { z } from 'zod';
import type { experimentsSchema } from '../contract.js';

type Experiments = z.infer<typeof experimentsSchema>;

const fileSchema = z.object({
  title: z.string(), dataset: z.string(), architecture: z.string(), epochs: z.number(), command: z.string(),
  rows: z.array(z.object({ recipe: z.string(), accuracies: z.array(z.number()).min(1) })),
});

/** The article's validation accuracies, one run each (DESIGN.md, section 4). */
const ARTICLE: Readonly<Record<string, number>> = { 'feature-extractor': 0.983648, 'feature-extractor-bn-eval': 0.987736, 'batch-norm-only': 0.990881, discriminative: 0.993711, 'discriminative-bn-eval': 0.991509, 'deep-head': 0.992767 };

/** An `experiments.json`: each recipe's mean accuracy with its 95 % interval by Student's t. Null where it can't be understood. */
export async function readExperiments(path: string): Promise<Experiments | null> {
  try {
    const { rows, ...rest } = fileSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    return { ...rest, rows: rows.map(({ recipe, accuracies }) => ({ recipe, ...interval(accuracies), article: ARTICLE[recipe] ?? null })) };
  } catch {
    return null;
  }
}

function interval(values: readonly number[]): { mean: number; low: number; high: number; count: number } {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count === 1) return { mean, low: mean, high: mean, count };
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1));
  const half = (tQuantile(0.975, count - 1) * deviation) / Math.sqrt(count);
  return { mean, low: mean - half, high: mean + half, count };
}
