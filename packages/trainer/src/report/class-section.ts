import type { ClassFigures, ClassificationFigures } from '@chameleon/core';
import { DASH, count, decimal } from './format.js';
import { type Markup, html } from './markup.js';
import { breakable, folded, section, table } from './page.js';

/** Up to here all classes stand open; beyond, the worst of them. */
const OPEN_COUNT = 20;

/** Precision, recall and F1 of each class; with many classes the worst, and all of them folded. */
export function classSection(classes: readonly string[], figures: ClassificationFigures): Markup {
  const frame = { id: 'classes', title: 'Each class' };
  if (figures.count === 0) return section({ ...frame, body: html`<p>No validation picture was judged, so no class has figures.</p>` });
  const lead = 'Precision: of the pictures said to be of a class, the part that is. Recall: of the class’s pictures, the part that was found. F1 is their harmonic mean. A dash stands where nothing defines a figure.';
  if (classes.length <= OPEN_COUNT) return section({ ...frame, lead, body: figuresTable('Figures of each class', classes, figures.classes, figures.macro) });
  const judged = figures.classes.filter(({ f1 }) => f1 !== null);
  const worst = judged.toSorted((a, b) => a.f1! - b.f1! || b.support - a.support).slice(0, OPEN_COUNT);
  return section({
    ...frame,
    lead: html`${lead} These are the ${worst.length} classes with the lowest F1.`,
    body: [
      figuresTable('Figures of the worst classes', classes, worst, figures.macro),
      folded(`All ${count(classes.length)} classes`, figuresTable('Figures of each class', classes, figures.classes, figures.macro)),
    ],
  });
}

function figuresTable(label: string, classes: readonly string[], rows: readonly ClassFigures[], macro: ClassificationFigures['macro']): Markup {
  const shown = (value: number | null) => (value === null ? DASH : decimal(value, 3));
  return table({
    label,
    columns: [{ name: 'Class' }, ...['Pictures', 'Precision', 'Recall', 'F1'].map((name) => ({ name, kind: 'number' as const }))],
    rows: rows.map(({ classIndex, support, precision, recall, f1 }) => ({ cells: [breakable(classes[classIndex]!), count(support), shown(precision), shown(recall), shown(f1)] })),
    foot: ['Mean over the classes', '', decimal(macro.precision, 3), decimal(macro.recall, 3), decimal(macro.f1, 3)],
  });
}
