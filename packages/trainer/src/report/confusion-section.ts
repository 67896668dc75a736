import { type ClassificationFigures, type Confusion, type ConfusionMatrix, mostConfused } from '@chameleon/core';
import { count, counted, percent } from './format.js';
import { type Child, type Markup, html } from './markup.js';
import { breakable, section, table } from './page.js';

/** Up to here a matrix can be read as a table. */
const TABLE_CLASS_COUNT = 20;
/** Up to here class names fit side by side above the columns. */
const WIDE_CLASS_COUNT = 4;
const PAIR_COUNT = 20;
/** Percent of a shade at a share of 1: text stays readable on it in both themes. */
const FULL_SHADE = 55;

/** Which class was taken for which: the matrix, or with many classes the pairs that were confused most. */
export function confusionSection(classes: readonly string[], matrix: ConfusionMatrix, figures: ClassificationFigures): Markup {
  const frame = { id: 'confusion', title: 'What was taken for what' };
  if (figures.count === 0) return section({ ...frame, body: html`<p>No validation picture was judged, so there is nothing to compare.</p>` });
  if (classes.length <= TABLE_CLASS_COUNT) {
    const lead = 'Each row is a true class, each column what the model said. The deeper the shade, the larger the share of the row’s pictures; blue is right, orange is wrong.';
    return section({ ...frame, lead, body: matrixTable(classes, matrix, figures) });
  }
  const pairs = mostConfused(matrix, PAIR_COUNT);
  if (pairs.length === 0) return section({ ...frame, body: html`<p>No class was taken for another in ${counted(figures.count, 'picture')}.${unansweredNote(matrix)}</p>` });
  const lead = `${count(classes.length)} classes are too many for a table. These are the ${pairs.length === 1 ? 'pair' : `${pairs.length} pairs`} confused most often.`;
  return section({ ...frame, lead, body: [pairTable(classes, pairs, figures), unansweredNote(matrix) && html`<p>${unansweredNote(matrix)}</p>`] });
}

function matrixTable(classes: readonly string[], { classCount, counts, unanswered }: ConfusionMatrix, { classes: figures }: ClassificationFigures): Markup {
  const hasUnanswered = unanswered.some((n) => n > 0);
  const tall = classCount > WIDE_CLASS_COUNT;
  return html`<div class="scroll" tabindex="0" role="group" aria-label="Confusion matrix"><table class="confusion${tall && ' tall'}">
<thead><tr><th scope="col" class="corner">true class</th>${classes.map((name) => html`<th scope="col" class="class" title="${name}"><span>${tall ? name : breakable(name)}</span></th>`)}${hasUnanswered && html`<th scope="col" class="class"><span>no answer</span></th>`}<th scope="col" class="total">pictures</th></tr></thead>
<tbody>${classes.map((name, label) => {
    const { support } = figures[label]!;
    return html`<tr><th scope="row">${breakable(name)}</th>${classes.map((_, predicted) => cell(counts[label * classCount + predicted]!, support, label === predicted, !tall))}${hasUnanswered && cell(unanswered[label]!, support, false, !tall)}<td class="total">${count(support)}</td></tr>
`;
  })}</tbody></table></div>`;
}

function cell(value: number, support: number, right: boolean, roomy: boolean): Markup {
  if (value === 0) return html`<td class="none">${roomy ? '0' : '·'}</td>`;
  const share = percent(value / support);
  const part = Math.round(8 + (FULL_SHADE - 8) * (value / support));
  return html`<td class="${right ? 'right' : 'wrong'}" style="--part:${part}%" title="${share} of the row">${count(value)}${roomy && html`<small>${share}</small>`}</td>`;
}

function pairTable(classes: readonly string[], pairs: readonly Confusion[], { classes: figures }: ClassificationFigures): Markup {
  return table({
    label: 'Pairs of classes confused most often',
    columns: [{ name: 'True class' }, { name: 'Taken for' }, { name: 'Pictures', kind: 'number' }, { name: 'Of the class', kind: 'number' }],
    rows: pairs.map(({ label, predicted, count: n, share }) => ({ cells: [breakable(classes[label]!), breakable(classes[predicted]!), `${count(n)} of ${count(figures[label]!.support)}`, percent(share)] satisfies Child[] })),
  });
}

function unansweredNote({ unanswered }: ConfusionMatrix): string {
  const total = unanswered.reduce((sum, n) => sum + n, 0);
  return total === 0 ? '' : ` ${counted(total, 'picture')} got no answer: the model’s probabilities were not numbers.`;
}
