/**
 * HTML in which everything that is put in is escaped, but what was made by `html` itself. Class names, paths
 * and messages come from files, so the safe way must be the short one.
 */
export class Markup {
  constructor(readonly text: string) {}
}

export type Child = Markup | string | number | null | undefined | false | readonly Child[];

export function html(strings: TemplateStringsArray, ...children: Child[]): Markup {
  return new Markup(strings.reduce((text, literal, i) => text + toText(children[i - 1]) + literal));
}

/** Text that is markup already: only for what this package draws itself. */
export const trusted = (text: string) => new Markup(text);

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function toText(child: Child): string {
  if (child instanceof Markup) return child.text;
  if (child === null || child === undefined || child === false) return '';
  if (typeof child === 'object') return child.map(toText).join('');
  return String(child).replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}
