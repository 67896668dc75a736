import { articleAccuracy } from '../article.js';
import { DASH, decimal } from './format.js';
import { meanInterval } from './interval.js';
import type { ExperimentRow, ExperimentsRecord } from './records.js';
import { rowLabel } from './tricks.js';

export interface TableCells {
  readonly recipe: string;
  /** `0.9413 ± 0.0440`; without the half width for a single seed. */
  readonly mean: string;
  /** Each seed's accuracy, three decimals, by a space. */
  readonly seeds: string;
  readonly article: string;
}

/** A row as text. The article's number stands beside pretrained rows alone: its rows are. */
export function tableCells(row: ExperimentRow): TableCells {
  const article = row.weights === 'random' ? null : articleAccuracy(row.recipe);
  return {
    recipe: rowLabel(row),
    mean: meanText(row.accuracies),
    seeds: row.accuracies.map((accuracy) => decimal(accuracy, 3)).join(' ') || DASH,
    article: article === null ? DASH : article.toFixed(6),
  };
}

function meanText(accuracies: readonly number[]): string {
  if (accuracies.length === 0) return DASH;
  const { mean, halfWidth, single } = meanInterval(accuracies);
  return single || !Number.isFinite(mean) ? decimal(mean) : `${decimal(mean)} ± ${decimal(halfWidth)}`;
}

const TABLE_HEADER = ['recipe', 'mean ± 95 %', 'each seed', 'the article'] as const;

/** The six recipes as rows of cells for a terminal, the header first. */
export function experimentsTable({ rows }: ExperimentsRecord): string[][] {
  return [[...TABLE_HEADER], ...rows.map(tableCells).map(({ recipe, mean, seeds, article }) => [recipe, mean, seeds, article])];
}

/** The same as a Markdown table, numbers to the right. */
export function markdownTable(record: ExperimentsRecord): string {
  const [header, ...rows] = experimentsTable(record).map((cells) => `| ${cells.map(escapeCell).join(' | ')} |`);
  return [header, '| --- | ---: | --- | ---: |', ...rows, ''].join('\n');
}

const escapeCell = (text: string) => text.replace(/[\\|]/g, '\\$&').replace(/\s*[\r\n]+\s*/g, ' ');
