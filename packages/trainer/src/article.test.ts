import { articleRecipeNames } from '@chameleon/core';
import { describe, expect, it } from 'vitest';
import { ARTICLE_CONDITIONS, ARTICLE_TABLE, articleAccuracy } from './article.js';

describe("the article's table", () => {
  it('has a row for each of the six recipes, in their order', () => {
    expect(ARTICLE_TABLE.map((row) => row.recipe)).toEqual(articleRecipeNames);
  });

  it('holds accuracies that are whole numbers of its validation pictures', () => {
    expect(ARTICLE_CONDITIONS.validCount).toBe(ARTICLE_CONDITIONS.pictureCount / 5);
    for (const { validAccuracy } of ARTICLE_TABLE) {
      const correct = Math.round(validAccuracy * ARTICLE_CONDITIONS.validCount);
      expect((correct / ARTICLE_CONDITIONS.validCount).toFixed(6)).toBe(validAccuracy.toFixed(6));
    }
  });

  it('has nothing for a recipe that is not the article’s', () => {
    expect(articleAccuracy('discriminative')).toBe(0.993711);
    expect(articleAccuracy('from-scratch')).toBeNull();
  });
});
