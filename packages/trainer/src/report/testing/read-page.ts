const VOID = new Set(['meta', 'br', 'wbr', 'img', 'hr', 'link', 'input']);

/** What is wrong with the nesting of a page's tags: one left open, or one closed that isn't the last opened. */
export function nestingFaults(page: string): string[] {
  const open: string[] = [];
  const faults: string[] = [];
  for (const [, closing, name, rest] of page.matchAll(/<(\/?)([a-zA-Z][\w-]*)((?:"[^"]*"|'[^']*'|[^'">])*)>/g)) {
    if (VOID.has(name!) || rest!.endsWith('/')) continue;
    if (!closing) open.push(name!);
    else if (open.pop() !== name) faults.push(`</${name}>`);
  }
  return [...faults, ...open.map((name) => `<${name}> stays open`)];
}

/** The text of a page as a person reads it: without tags and styles, white space made one. */
export function visibleText(page: string): string {
  const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', '#39': "'", amp: '&' };
  return page
    .replace(/<(style|title)>[\s\S]*?<\/\1>/g, '')
    .replace(/<wbr>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&(lt|gt|quot|#39|amp);/g, (_, entity: string) => entities[entity]!)
    .replace(/\s+/g, ' ');
}

/** Whatever in a page would make a browser load or run something, but `data:` pictures. */
export function loads(page: string): string[] {
  const attributes = [...page.matchAll(/\s(?:src|href|xlink:href|action|data|poster|srcset)="([^"]*)"/g)].map(([, target]) => target!).filter((target) => !target.startsWith('data:image/') && !target.startsWith('#'));
  const others = [...page.matchAll(/<(?:script|link|iframe|object|embed|base)\b|\son\w+="|@import|url\((?!#)/g)].map(([found]) => found);
  return [...attributes, ...others];
}
