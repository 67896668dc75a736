import { type MeanInterval, pairedDifference } from './interval.js';
import type { ExperimentRow } from './records.js';

/**
 * What each of the seven tricks is worth: a recipe with it against a recipe that lacks it, seed by seed. The same seed
 * means the same start and the same order of pictures on both sides, so the difference varies less than the levels do.
 */
export interface Comparison {
  /** Which of the seven tricks, from 1; two that only come together share a row. */
  readonly tricks: readonly number[];
  readonly name: string;
  /** Label of the row with the trick, and of the one without. */
  readonly after: string;
  readonly before: string;
}

/** An interval that holds zero tells nothing; nor does one without width, of a single seed or of seeds that all agree. */
export type Verdict = 'better' | 'worse' | 'undecided' | 'single' | 'unvarying' | 'not measured';

export interface Finding extends Comparison {
  /** Of each seed that both rows have. */
  readonly differences: readonly number[];
  /** Of accuracies, so within -1 and 1; null where a row is missing or no seed is common. */
  readonly difference: MeanInterval | null;
  readonly verdict: Verdict;
}

const RANDOM = 'from random weights';

/** How a row is called: its recipe, and where its body began. */
export const rowLabel = ({ recipe, weights }: Pick<ExperimentRow, 'recipe' | 'weights'>) => (weights === 'random' ? `${recipe}, ${RANDOM}` : recipe);

const COMPARISONS: readonly Comparison[] = [
  { tricks: [2], name: 'BatchNorm in eval mode', after: 'feature-extractor-bn-eval', before: 'feature-extractor' },
  { tricks: [3], name: 'Training BatchNorm alone', after: 'batch-norm-only', before: 'feature-extractor' },
  { tricks: [4], name: 'Discriminative learning rates', after: 'discriminative', before: 'batch-norm-only' },
  { tricks: [5], name: 'Discriminative rates with BatchNorm kept still, against BatchNorm that learns', after: 'discriminative-bn-eval', before: 'discriminative' },
  { tricks: [5], name: 'Discriminative rates with BatchNorm kept still, against the frozen body', after: 'discriminative-bn-eval', before: 'feature-extractor-bn-eval' },
  { tricks: [6, 7], name: 'Concatenated pooling and a deeper head, which the recipe has together', after: 'deep-head', before: 'discriminative' },
];

/** All comparisons in the order of the tricks, the ones that these rows can't answer too. */
export function trickFindings(rows: readonly ExperimentRow[]): Finding[] {
  return [...pretraining(rows), ...COMPARISONS].map((comparison) => find(comparison, rows));
}

/** The first trick: every row from random weights against the pretrained row of its recipe. */
function pretraining(rows: readonly ExperimentRow[]): Comparison[] {
  const name = 'Pretrained body';
  const random = rows.filter(({ weights }) => weights === 'random');
  if (random.length === 0) return [{ tricks: [1], name, after: 'feature-extractor', before: `feature-extractor, ${RANDOM}` }];
  return random.map((row) => {
    const same = rows.some(({ recipe, weights }) => recipe === row.recipe && weights !== 'random');
    return { tricks: [1], name, after: same ? row.recipe : 'feature-extractor', before: rowLabel(row) };
  });
}

function find(comparison: Comparison, rows: readonly ExperimentRow[]): Finding {
  const of = (label: string) => rows.find((row) => rowLabel(row) === label)?.accuracies ?? [];
  const [after, before] = [of(comparison.after), of(comparison.before)];
  const differences = after.slice(0, before.length).map((accuracy, seed) => accuracy - before[seed]!);
  const difference = pairedDifference(after, before);
  return { ...comparison, differences, difference, verdict: judge(difference) };
}

/** Accuracies are whole numbers of pictures: what is below this is rounding. */
const ROUNDING = 1e-9;

function judge(difference: MeanInterval | null): Verdict {
  if (difference === null || !Number.isFinite(difference.mean)) return 'not measured';
  if (difference.single) return 'single';
  if (difference.halfWidth < ROUNDING) return 'unvarying';
  if (difference.low > ROUNDING) return 'better';
  return difference.high < -ROUNDING ? 'worse' : 'undecided';
}
