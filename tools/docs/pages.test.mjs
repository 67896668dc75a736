import { readFileSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { recipeSchema } from '../../packages/core/src/recipes.ts';
import { createProgram } from '../../packages/cli/src/main.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const pages = [...(await pagesIn('docs')), 'README.md', 'tools/README.md', ...(await readdir(join(root, 'packages'))).map((name) => `packages/${name}/README.md`)].filter((page) => statSync(join(root, page), { throwIfNoEntry: false }));

async function pagesIn(folder) {
  return (await readdir(join(root, folder), { recursive: true })).filter((name) => name.endsWith('.md')).map((name) => join(folder, name));
}

const textOf = (page) => readFileSync(join(root, page), 'utf8');
const blocks = (page, language) => [...textOf(page).matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, text]) => text);

/** The calls of chameleon in a page's shell blocks, each as its words. */
function callsIn(page) {
  const lines = blocks(page, 'sh').flatMap((text) => text.replaceAll('\\\n', ' ').split('\n'));
  return lines.flatMap((line) => {
    const [, call] = /^(?:[A-Z_]+=\S+ )*(?:npx )?chameleon (.*)$/.exec(line.replace(/ +#.*$/, '').trim()) ?? [];
    return call === undefined ? [] : [[call, call.match(/'[^']*'|[^\s']+/g).map((word) => word.replaceAll("'", ''))]];
  });
}

/** The program, none of whose commands does anything. */
function idleProgram() {
  const idle = (command) => {
    command.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
    if (command.commands.length === 0) command.action(() => undefined);
    else command.commands.forEach(idle);
    return command;
  };
  return idle(createProgram());
}

describe.each(pages)('%s', (page) => {
  const links = [...textOf(page).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map(([, link]) => link);
  it(`leads to files that are there (${links.length})`, () => {
    for (const link of links) expect(statSync(join(root, dirname(page), link), { throwIfNoEntry: false }), `${link} in ${page}`).toBeDefined();
  });

  const calls = callsIn(page);
  it(`calls commands that there are, with flags that they have (${calls.length})`, async () => {
    for (const [call, words] of calls) {
      if (words.includes('--help') || words.includes('--version')) continue;
      await expect(idleProgram().parseAsync(words, { from: 'user' }), call).resolves.toBeDefined();
    }
  });
});

describe('recipes in the pages', () => {
  it.each(pages.flatMap((page) => blocks(page, 'yaml').filter((text) => /^phases:/m.test(text)).map((text) => [relative('.', page), text])))('of %s can be read', (_, text) => {
    expect(recipeSchema.parse(parse(text)).phases.length).toBeGreaterThan(0);
  });
});
