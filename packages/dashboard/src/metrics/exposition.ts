/** A time series' name and labels; `__name__` is the metric's. */
export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** Metric and labels as they stand in the text: the same text is the same series. */
  series: string;
  value: number;
}

/** Text that isn't Prometheus's format. `line` counts from 1. */
export class ExpositionError extends Error {
  override readonly name = 'ExpositionError';
  constructor(readonly line: number, problem: string) {
    super(`line ${line}: ${problem}`);
  }
}

/**
 * The samples of a scrape in Prometheus's text format, version 0.0.4, or OpenMetrics. Comments, types, exemplars and timestamps are
 * passed over: whoever scrapes dates the samples. Of a series that comes twice the first counts.
 * @throws ExpositionError at the first line that can't be read
 */
export function parseExposition(text: string): Sample[] {
  const samples: Sample[] = [];
  const seen = new Set<string>();
  let line = 0;
  for (let start = 0; start < text.length; line++) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const row = text.slice(start, end).trim();
    start = end + 1;
    if (row === '' || row.startsWith('#')) continue;
    const sample = parseLine(row, line + 1);
    if (seen.has(sample.series)) continue;
    seen.add(sample.series);
    samples.push(sample);
  }
  return samples;
}

const NAME = /^[A-Za-z_:][A-Za-z0-9_:]*/;

function parseLine(row: string, line: number): Sample {
  const name = NAME.exec(row)?.[0];
  if (name === undefined) throw new ExpositionError(line, `no metric's name: ${shorten(row)}`);
  const end = row[name.length] === '{' ? endOfLabels(row, name.length, line) : name.length;
  const [value = '', timestamp] = row.slice(end).split(' # ', 1)[0]!.trim().split(/\s+/);
  if (timestamp !== undefined && !Number.isFinite(Number(timestamp))) throw new ExpositionError(line, `no timestamp: ${shorten(timestamp)}`);
  return { series: row.slice(0, end), value: parseValue(value, line) };
}

/** The place after the closing brace; braces inside quotes are text. */
function endOfLabels(row: string, open: number, line: number): number {
  let quoted = false;
  for (let i = open + 1; i < row.length; i++) {
    const char = row[i];
    if (quoted && char === '\\') i++;
    else if (char === '"') quoted = !quoted;
    else if (char === '}' && !quoted) return i + 1;
  }
  throw new ExpositionError(line, `labels that don't end: ${shorten(row)}`);
}

/** A number as Prometheus writes it: `NaN`, `+Inf` and `-Inf` too. */
function parseValue(text: string, line: number): number {
  if (/^[+-]?Inf$/i.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/^NaN$/i.test(text)) return Number.NaN;
  const value = Number(text);
  if (text === '' || Number.isNaN(value)) throw new ExpositionError(line, `no number: ${shorten(text)}`);
  return value;
}

const LABEL = /\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|$)/y;

/**
 * The labels of a sample's `series`. @throws Error when they aren't pairs of a name and a quoted text
 */
export function parseSeries(series: string): Labels {
  const open = series.indexOf('{');
  if (open === -1) return { __name__: series };
  const labels: Record<string, string> = { __name__: series.slice(0, open) };
  const inside = series.slice(open + 1, -1);
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < inside.trimEnd().length) {
    const at = LABEL.lastIndex;
    const match = LABEL.exec(inside);
    if (!match) throw new Error(`no label: ${shorten(inside.slice(at))}`);
    if (match[1]! in labels) throw new Error(`the label ${match[1]!} comes twice`);
    // An empty label is none.
    if (match[2] !== '') labels[match[1]!] = match[2]!.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char));
  }
  return labels;
}

const shorten = (text: string): string => (text.length <= 60 ? text : `${text.slice(0, 60)}…`);
