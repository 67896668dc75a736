import { articleSection } from './article-section.js';
import { drawFigure } from './chart.js';
import { classSection } from './class-section.js';
import { confusionSection } from './confusion-section.js';
import { curveFigures } from './curves.js';
import { count, counted, decimal, duration, moment, percent } from './format.js';
import { type Child, type Markup, html } from './markup.js';
import { mistakesSection } from './mistakes-section.js';
import { breakable, facts, folded, page, section, settingsTable, table } from './page.js';
import type { EpochRow, RunRecord, SkippedFile } from './records.js';
import { type RunSummary, summarise } from './run-summary.js';

/** Rows of a table that is only there to be looked up. */
const EPOCH_ROWS = 200;
const SKIPPED_ROWS = 500;

/**
 * A run as one HTML file: it opens offline, loads nothing and runs nothing.
 * @throws RangeError when a prediction's label is none of the classes
 */
export async function renderRunReport(record: RunRecord): Promise<string> {
  const summary = summarise(record);
  const { matrix, figures, lastAccuracy } = summary;
  return page({
    title: `${record.title} – Chameleon`,
    body: [
      header(record, summary),
      await curvesSection(record),
      confusionSection(record.classes, matrix, figures),
      classSection(record.classes, figures),
      mistakesSection(record.classes, record.mistakes, { wrongCount: figures.count - figures.correctCount, judgedCount: figures.count }),
      articleSection(record, lastAccuracy),
      skippedSection(record.skipped),
      settingsSection(record),
      html`<footer>Made by Chameleon. Everything is in this one file: it loads nothing and runs no script.</footer>`,
    ],
  });
}

function header(record: RunRecord, summary: RunSummary): Markup {
  const { trainCount, validCount, classes, startedAt, epochs } = record;
  return html`<header>
<p class="eyebrow">Training run ${record.runId}</p>
<h1>${record.title}</h1>
${headline(summary)}
${notice(record, summary)}
${facts([
  ['Recipe', record.recipe],
  ['Architecture', record.architecture],
  ['Classes', count(classes.length)],
  ['Pictures', `${count(trainCount)} to learn from, ${count(validCount)} to judge by`],
  ['Epochs', epochCount(record)],
  ['Began', moment(startedAt)],
  ['Took', Number.isFinite(summary.seconds) && duration(summary.seconds)],
  ['Speed', epochs.length > 0 && `${count(epochs.at(-1)!.picturesPerSecond)} pictures a second`],
])}
</header>`;
}

function headline({ accuracy, bestEpoch }: RunSummary): Markup {
  if (accuracy === null) return html`<p class="lead">There is no validation accuracy: no picture was judged.</p>`;
  const { value, correctCount, count: judged, low, high } = accuracy;
  return html`<div class="headline"><span class="figure">${percent(value)}</span>
<p><b>validation accuracy</b>: ${count(correctCount)} of ${counted(judged, 'picture')} right.<br>95 % interval ${percent(low)} to ${percent(high)}.
<br><small>${bestEpoch !== null && `The model of epoch ${bestEpoch + 1}, the best one, which is the model that is kept. `}Wilson’s interval, for new pictures like these.</small></p></div>`;
}

/** What a reader must know before believing the figures. */
function notice({ fault, epochs, steps, config }: RunRecord, { outcome }: RunSummary): Child {
  const at = steps.length > 0 ? ` at step ${count(steps.at(-1)!.step)}` : '';
  const say = (text: string) => html`<p class="notice">${text}${fault && ` ${fault}`}</p>`;
  switch (outcome) {
    case 'done':
      return null;
    case 'stopped early':
      return say(`The run stopped early, after ${counted(epochs.length, 'epoch')}: validation accuracy no longer rose.`);
    case 'interrupted':
      return say(`The run was interrupted${at}, after ${counted(epochs.length, 'whole epoch')}${typeof config['epochs'] === 'number' ? ` of ${count(config['epochs'])}` : ''}. --resume goes on from its last checkpoint.`);
    case 'diverged':
      return say(`The run diverged: its loss was no longer a number${at}. A lower learning rate or a clipped gradient may help.`);
    case 'failed':
      return say(`The run failed${at}.`);
    default:
      return outcome satisfies never;
  }
}

const epochCount = ({ epochs, config }: RunRecord): string => (typeof config['epochs'] === 'number' ? `${count(epochs.length)} of ${count(config['epochs'])}` : count(epochs.length));

async function curvesSection(record: RunRecord): Promise<Markup> {
  const figures = curveFigures(record);
  const frame = { id: 'curves', title: 'How it learned' };
  if (figures.length === 0) return section({ ...frame, body: html`<p>The run ended before its first step.</p>` });
  const drawn: Markup[] = [];
  for (const figure of figures) drawn.push(await drawFigure(figure));
  return section({ ...frame, body: [html`<div class="charts">${drawn}</div>`, record.epochs.length > 0 && epochTable(record.epochs)] });
}

function epochTable(epochs: readonly EpochRow[]): Markup {
  const shown = epochs.slice(-EPOCH_ROWS);
  return folded(
    shown.length < epochs.length ? `The last ${count(shown.length)} of ${count(epochs.length)} epochs in numbers` : 'The epochs in numbers',
    table({
      label: 'Each epoch in numbers',
      columns: ['Epoch', 'Training loss', 'Training accuracy', 'Validation loss', 'Validation accuracy', 'Time', 'Pictures a second'].map((name) => ({ name, kind: 'number' })),
      rows: shown.map((row) => ({
        cells: [count(row.epoch + 1), decimal(row.trainLoss), decimal(row.trainAccuracy), decimal(row.validLoss), decimal(row.validAccuracy), duration(row.seconds), decimal(row.picturesPerSecond, 1)],
      })),
    }),
  );
}

function skippedSection(skipped: readonly SkippedFile[]): Markup {
  const frame = { id: 'skipped', title: 'Skipped files' };
  if (skipped.length === 0) return section({ ...frame, body: html`<p>None: every file in the class folders was read.</p>` });
  const listed = table({ label: 'Skipped files', columns: [{ name: 'File' }, { name: 'Why', kind: 'prose' }], rows: skipped.slice(0, SKIPPED_ROWS).map(({ path, reason }) => ({ cells: [html`<code>${breakable(path)}</code>`, reason] })) });
  const rest = skipped.length - SKIPPED_ROWS;
  return section({
    ...frame,
    lead: `${counted(skipped.length, 'file')} could not be read and took no part in the run.`,
    body: [skipped.length <= 10 ? listed : folded('Which, and why', listed), rest > 0 && html`<p>And ${counted(rest, 'file')} more; events.jsonl lists all.</p>`],
  });
}

function settingsSection({ config, machine, versions }: RunRecord): Markup {
  return section({
    id: 'settings',
    title: 'Settings',
    body: html`${folded('Configuration', settingsTable('Configuration', config))}
${folded('Machine', settingsTable('Machine', machine))}
${folded('Versions', settingsTable('Versions', versions))}`,
  });
}
