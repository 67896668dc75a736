import { type ParityRow, TOLERANCES } from './tolerances.js';

interface Largest { error: number; where: string; count: number }

/** The largest error of each row of the tolerances, as tests meet them. */
export class ErrorTable {
  readonly #largest = new Map<ParityRow, Largest>();

  /** Notes an error. NaN counts as the largest of all. @returns whether it is within the row's tolerance */
  note(row: ParityRow, error: number, where: string): boolean {
    const known = this.#largest.get(row) ?? { error: -1, where: '', count: 0 };
    const isLarger = !(error <= known.error) && !Number.isNaN(known.error);
    this.#largest.set(row, { ...(isLarger ? { error, where } : known), count: known.count + 1 });
    return error <= TOLERANCES[row].limit;
  }

  /** A line a row that was met: what was compared, how many times, the largest error beside its tolerance, and where it was. */
  toString(): string {
    const lines = [...this.#largest].map(([row, { error, where, count }]) => {
      const { what, limit, measure } = TOLERANCES[row];
      return [what, `${count}`, figure(error), figure(limit), measure, where];
    });
    const titles = ['against PyTorch', 'compared', 'largest error', 'tolerance', 'measured as', 'where'];
    const widths = titles.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]!.length)));
    return [titles, ...lines].map((line) => line.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()).join('\n');
  }
}

const figure = (value: number): string => (Number.isInteger(value) ? `${value}` : value.toExponential(1));
