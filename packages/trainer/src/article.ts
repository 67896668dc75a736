/**
 * The article's table as data: what each recipe reached there, in one run each, and under which conditions.
 * Levels of other data sets are not comparable with it; the order of the recipes is.
 */
export interface ArticleRow {
  readonly recipe: string;
  /** Validation accuracy after the last epoch, one run. */
  readonly validAccuracy: number;
}

export const ARTICLE_TABLE: readonly ArticleRow[] = [
  { recipe: 'feature-extractor', validAccuracy: 0.983648 },
  { recipe: 'feature-extractor-bn-eval', validAccuracy: 0.987736 },
  { recipe: 'batch-norm-only', validAccuracy: 0.990881 },
  { recipe: 'discriminative', validAccuracy: 0.993711 },
  { recipe: 'discriminative-bn-eval', validAccuracy: 0.991509 },
  { recipe: 'deep-head', validAccuracy: 0.992767 },
];

export const ARTICLE_CONDITIONS = {
  pictureCount: 15_900,
  /** The first 20 % of each class's files. */
  validCount: 3_180,
  architecture: 'resnet34',
  weights: "ImageNet's",
  epochs: 2,
  batchSize: 64,
  imageSize: 224,
  optimizer: 'Adam',
  learningRate: 1e-3,
} as const;

/** What the article reports for a recipe, or null where it has no such row. */
export function articleAccuracy(recipe: string): number | null {
  return ARTICLE_TABLE.find((row) => row.recipe === recipe)?.validAccuracy ?? null;
}
