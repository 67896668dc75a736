import { comparability } from './article-section.js';
import { drawFigure, legendEntry } from './chart.js';
import { type DotChart, narrowDots, wideDots } from './dots.js';
import { tableCells } from './experiments-table.js';
import { DASH, count, counted, duration, moment, percent, signed } from './format.js';
import { meanInterval } from './interval.js';
import { type Child, type Markup, html } from './markup.js';
import { facts, folded, page, section, settingsTable, table } from './page.js';
import type { ExperimentRow, ExperimentsRecord } from './records.js';
import { type Finding, rowLabel, trickFindings } from './tricks.js';

/** The recipes beside one another, and what each trick is worth, as one HTML file that loads nothing and runs nothing. */
export async function renderExperimentsReport(record: ExperimentsRecord): Promise<string> {
  const findings = trickFindings(record.rows);
  return page({
    title: `${record.title} – Chameleon`,
    body: [
      header(record, findings),
      await recipesSection(record),
      await tricksSection(findings),
      conditionsSection(record),
      html`<footer>Made by Chameleon. Everything is in this one file: it loads nothing and runs no script.</footer>`,
    ],
  });
}

const seedCount = (rows: readonly ExperimentRow[]) => Math.max(0, ...rows.map(({ accuracies }) => accuracies.length));

function header(record: ExperimentsRecord, findings: readonly Finding[]): Markup {
  const { rows, architecture, dataset, epochs, trainCount, validCount, startedAt, title, weights } = record;
  const seconds = rows.flatMap((row) => row.seconds).reduce((sum, each) => sum + each, 0);
  const pictures = trainCount !== undefined && validCount !== undefined && `${count(trainCount)} to learn from, ${count(validCount)} to judge by`;
  return html`<header>
<p class="eyebrow">Experiments</p>
<h1>${title}</h1>
${summary(findings)}
${facts([
  ['Rows', count(rows.length)],
  ['Seeds of each', record.seeds ? `${count(record.seeds.length)} (${record.seeds.join(', ')})` : count(seedCount(rows))],
  ['Architecture', architecture],
  ['Weights', weights],
  ['Pictures from', dataset],
  ['Pictures', pictures],
  ['Epochs', count(epochs)],
  ['Began', startedAt && moment(startedAt)],
  ['Training took', duration(seconds)],
])}
</header>`;
}

/** How many comparisons say something, in a sentence. */
function summary(findings: readonly Finding[]): Markup {
  const of = (verdict: Finding['verdict']) => findings.filter((finding) => finding.verdict === verdict).length;
  const measured = findings.length - of('not measured');
  if (measured === 0) return html`<p class="lead">These rows hold no pair that a trick could be read from.</p>`;
  const clear = of('better') + of('worse');
  return html`<div class="headline"><span class="figure">${clear} of ${measured}</span>
<p>comparisons of a recipe with a trick and one without come out clearly: ${of('better')} better, ${of('worse')} worse.<br>
<small>Clearly: the 95 % interval of the paired difference does not hold zero. What the others are worth this data can’t tell.</small></p></div>`;
}

async function recipesSection(record: ExperimentsRecord): Promise<Markup> {
  const { rows } = record;
  const frame = { id: 'recipes', title: 'The recipes' };
  if (rows.length === 0) return section({ ...frame, body: html`<p>No recipe was trained to its end.</p>` });
  const pretrained = rows.filter(({ weights }) => weights !== 'random');
  const drawn = pretrained.length > 0 ? pretrained : rows;
  const chart: DotChart = {
    rows: drawn.map((row) => ({ name: rowLabel(row), values: row.accuracies, interval: row.accuracies.length > 0 ? meanInterval(row.accuracies) : null })),
    axis: 'validation accuracy',
    format: (value) => percent(value, Number.isInteger(Math.round(value * 1e6) / 1e4) ? 0 : 1),
    limits: [0, 1],
  };
  const cells = rows.map((row) => ({ row, ...tableCells(row) }));
  return section({
    ...frame,
    lead: 'Validation accuracy after the last epoch. An interval is that of the mean by Student’s t: how far the mean of so few seeds may be off, on these pictures. Three seeds that agree by chance have a narrow one.',
    body: [
      await drawFigure({ id: 'recipes-dots', title: 'Mean, 95 % interval, and each seed', description: cells.map(({ recipe, mean }) => `${recipe}: ${mean}`).join('; '), wide: wideDots(chart), narrow: narrowDots(chart), legend: legend() }),
      table({
        label: 'Accuracy of each recipe',
        columns: [{ name: 'Recipe' }, { name: 'Mean ± 95 %', kind: 'number' }, { name: 'Each seed', kind: 'values' }, { name: 'The article', kind: 'number' }, { name: 'Time a run', kind: 'number' }],
        rows: cells.map(({ row, recipe, mean, seeds, article }) => ({ cells: [recipe, mean, seeds, article, duration(row.seconds.reduce((sum, each) => sum + each, 0) / row.seconds.length)] })),
      }),
      drawn.length < rows.length && html`<p class="lead">Rows from random weights stand in the table alone: on the chart’s axis they would press the others together.</p>`,
      html`<p class="lead">${comparability(record)}</p>`,
    ],
  });
}

const legend = (): Child => [legendEntry(html`<i class="swatch mean"></i>`, 'mean, with its 95 % interval'), legendEntry(html`<i class="swatch seed"></i>`, 'one seed')];

/** Percentage points with their sign. */
const points = (difference: number) => signed(100 * difference, 2);

async function tricksSection(findings: readonly Finding[]): Promise<Markup> {
  const measured = findings.filter(({ verdict }) => verdict !== 'not measured');
  const drawn = measured.some(({ tricks }) => !tricks.includes(1)) ? measured.filter(({ tricks }) => !tricks.includes(1)) : measured;
  const chart: DotChart = {
    rows: drawn.map(({ tricks, after, before, differences, difference }) => ({ name: `${tricks.join(', ')}. ${after}`, detail: `− ${before}`, values: differences, interval: difference })),
    axis: 'difference of accuracy, percentage points',
    format: (value) => `${value < 0 ? '−' : value > 0 ? '+' : ''}${Number((100 * Math.abs(value)).toFixed(2))}`,
    limits: [-1, 1],
    zero: true,
  };
  const description = drawn.map((finding) => `${finding.name}: ${sentence(finding)}`).join(' ');
  return section({
    id: 'tricks',
    title: 'What each trick is worth',
    lead: 'The difference of two recipes, seed by seed: both sides start from the same seed, so what the seed does to both falls out. At 95 %, one interval in twenty leaves zero out by chance.',
    body: [
      measured.length > 0 && (await drawFigure({ id: 'tricks-dots', title: 'With the trick, less without', description, wide: wideDots(chart), narrow: narrowDots(chart), legend: legend() })),
      table({
        label: 'Paired difference of each trick',
        columns: [{ name: '', kind: 'number' }, { name: 'Trick' }, { name: 'Points ± 95 %', kind: 'number' }, { name: 'What it says', kind: 'prose' }],
        rows: findings.map((finding) => ({ cells: [finding.tricks.join(', '), trickCell(finding), differenceText(finding), verdictCell(finding)] })),
      }),
    ],
  });
}

function differenceText({ difference, verdict }: Finding): string {
  if (difference === null || verdict === 'not measured') return DASH;
  return difference.single ? points(difference.mean) : `${points(difference.mean)} ± ${(100 * difference.halfWidth).toFixed(2)}`;
}

const trickCell = ({ name, after, before }: Finding) => html`${name}<br><small>${after} − ${before}</small>`;

const verdictCell = (finding: Finding) => html`<span class="${finding.verdict === 'better' || finding.verdict === 'worse' ? finding.verdict : 'undecided'}">${sentence(finding)}</span>`;

/** What a difference says, for a person. */
function sentence({ difference, verdict, after, before }: Finding): string {
  const range = difference && `${points(difference.low)} to ${points(difference.high)}`;
  switch (verdict) {
    case 'better':
      return `Better: the whole interval, ${range} points, lies above zero.`;
    case 'worse':
      return `Worse: the whole interval, ${range} points, lies below zero.`;
    case 'undecided':
      return `The interval, ${range} points, holds zero: this data can’t tell.`;
    case 'single':
      return 'One seed has no interval: nothing can be told.';
    case 'unvarying':
      return `Every seed gives the same difference, so there is no spread to make an interval of: more seeds, or more pictures, would tell.`;
    case 'not measured':
      return `Not measured: it takes both ${after} and ${before}.`;
    default:
      return verdict satisfies never;
  }
}

function conditionsSection({ command, machine, versions, architecture, dataset, epochs, batchSize, imageSize, precision, weights }: ExperimentsRecord): Markup {
  const conditions = { architecture, ...(weights ? { weights } : {}), dataset, epochs, 'batch size': batchSize, 'image size': `${imageSize} px`, precision };
  return section({
    id: 'again',
    title: 'To make it again',
    body: html`<pre><code>${command}</code></pre>
<p>${counted(epochs, 'epoch')} of ${architecture} at ${imageSize} px in ${precision}, batch ${batchSize}. The same seeds on the same machine give the same numbers.</p>
${folded('Conditions', settingsTable('Conditions', conditions))}
${folded('Machine', settingsTable('Machine', machine))}
${folded('Versions', settingsTable('Versions', versions))}`,
  });
}
