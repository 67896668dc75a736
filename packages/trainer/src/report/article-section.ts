import { RECIPES } from '@chameleon/core';
import { ARTICLE_CONDITIONS, ARTICLE_TABLE, articleAccuracy } from '../article.js';
import { count, counted, decimal } from './format.js';
import { type Markup, html } from './markup.js';
import { section, table } from './page.js';
import type { RunRecord } from './records.js';

interface Conditions {
  readonly architecture: string;
  readonly trainCount?: number;
  readonly validCount?: number;
}

/** This run's recipe in the article's table, and what the two numbers may not be read as. */
export function articleSection(record: RunRecord, lastAccuracy: number): Markup {
  const known = articleAccuracy(record.recipe) !== null;
  const rows = ARTICLE_TABLE.map(({ recipe, validAccuracy }) => ({
    marked: recipe === record.recipe,
    cells: [html`${recipe}${recipe === record.recipe && html`<span class="tag">this run</span>`}`, decimal(validAccuracy), recipe === record.recipe ? decimal(lastAccuracy) : '', description(recipe)],
  }));
  const own = { marked: true, cells: [html`${record.recipe}<span class="tag">this run</span>`, 'not in it', decimal(lastAccuracy), description(record.recipe) || 'A recipe of your own.'] };
  return section({
    id: 'article',
    title: 'The recipe, beside the article’s table',
    lead: comparability(record),
    body: [
      table({
        label: 'The article’s six recipes and this run',
        columns: [{ name: 'Recipe' }, { name: 'The article', kind: 'number' }, { name: 'This run', kind: 'number' }, { name: 'What learns', kind: 'prose' }],
        rows: known ? rows : [...rows, own],
      }),
      html`<p class="lead">Validation accuracy after the last epoch. One run can’t rank recipes: <code>chameleon experiments</code> trains all six with several seeds.</p>`,
    ],
  });
}

/** The plain statement of what may be compared with the article. */
export function comparability({ architecture, trainCount, validCount }: Conditions): string {
  const { pictureCount, epochs, batchSize, learningRate, optimizer } = ARTICLE_CONDITIONS;
  const article = `The article trained a ResNet34 with ImageNet’s weights on its own ${count(pictureCount)} photographs of clothes, ${epochs} epochs, batch ${batchSize}, ${optimizer} at ${learningRate}, and gives one run of each recipe.`;
  const pictures = (trainCount ?? 0) + (validCount ?? 0);
  if (architecture === ARTICLE_CONDITIONS.architecture && pictures === pictureCount) {
    return `${article} Here the architecture and the number of pictures are the same. If the photographs and the weights are too, levels can be compared; one run is still one run.`;
  }
  const here = pictures > 0 ? `${architecture} on ${counted(pictures, 'picture')}` : architecture;
  return `${article} Those photographs and those weights were others than here (${here}), so levels are not comparable. The order of the recipes is.`;
}

const description = (recipe: string) => RECIPES.find(({ name }) => name === recipe)?.description ?? '';
