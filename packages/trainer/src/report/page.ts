import { type Child, html, trusted } from './markup.js';
import { STYLE } from './style.js';

/** Nothing is loaded and nothing runs: pictures and styles are in the file itself. */
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** A whole page in one file: it opens offline, in both themes, on a phone and on paper. */
export function page({ title, body }: { title: string; body: Child }): string {
  return html`${trusted('<!doctype html>')}
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${trusted(POLICY)}">
<title>${title}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`.text;
}

export interface Section {
  readonly id: string;
  readonly title: string;
  /** What a reader should know before looking. */
  readonly lead?: Child;
  readonly body: Child;
}

export const section = ({ id, title, lead, body }: Section) =>
  html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>${lead && html`<p class="lead">${lead}</p>`}
${body}</section>`;

/** A name and its value each; what has no value is left out. */
export const facts = (entries: readonly (readonly [string, Child])[]) =>
  html`<dl class="facts">${entries.filter(([, value]) => value !== null && value !== undefined && value !== false && value !== '').map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** What most readers need not see, folded. */
export const folded = (summary: Child, body: Child) => html`<details><summary>${summary}</summary>
${body}</details>`;

/** A table that scrolls sideways by itself where the page is narrow. */
export interface Table {
  readonly columns: readonly { readonly name: Child; readonly kind?: 'number' | 'prose' | 'values' }[];
  readonly rows: readonly { readonly cells: readonly Child[]; readonly marked?: boolean }[];
  readonly foot?: readonly Child[];
  /** What the table holds, for who can't see it. */
  readonly label: string;
}

export function table({ columns, rows, foot, label }: Table) {
  const kind = (i: number) => columns[i]?.kind ?? 'text';
  const row = (cells: readonly Child[], marked = false) =>
    html`<tr${marked && html` class="marked"`}>${cells.map((cell, i) => (i === 0 ? html`<th scope="row" class="${kind(0)}">${cell}</th>` : html`<td class="${kind(i)}">${cell}</td>`))}</tr>
`;
  return html`<div class="scroll" tabindex="0" role="group" aria-label="${label}"><table>
<thead><tr>${columns.map(({ name }, i) => html`<th scope="col" class="${kind(i)}">${name}</th>`)}</tr></thead>
<tbody>${rows.map(({ cells, marked }) => row(cells, marked))}</tbody>
${foot && html`<tfoot>${row(foot)}</tfoot>`}</table></div>`;
}

/** A name or a path that may break after its signs, where a line is too short for it. */
export const breakable = (name: string): Child => name.split(/(?<=[_/-])/).flatMap((part, i) => (i === 0 ? [part] : [trusted('<wbr>'), part]));

/** Settings and versions as they were written down. */
export function settingsTable(label: string, settings: Record<string, unknown>) {
  const rows = Object.entries(settings).map(([name, value]) => ({ cells: [html`<code>${name}</code>`, html`<code>${shown(value)}</code>`] }));
  return rows.length === 0 ? html`<p>Nothing was written down.</p>` : table({ label, columns: [{ name: 'Name' }, { name: 'Value', kind: 'prose' }], rows });
}

function shown(value: unknown): string {
  if (value === null || value === undefined || value === '') return 'none';
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'none');
}
