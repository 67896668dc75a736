/**
 * What was said of which class. A row is a true class, a column what was predicted, so that a row reads
 * "of the ants, so many were called bees". Flat and integer: 1,000 classes take 4 MB.
 */
export interface ConfusionMatrix {
  readonly classCount: number;
  /** `[classCount, classCount]`, row by row: label × predicted. */
  readonly counts: Uint32Array;
  /** Per label, how many pictures got no prediction: wrong, but of no column. */
  readonly unanswered: Uint32Array;
}

export interface ClassFigures {
  readonly classIndex: number;
  /** Pictures whose label is this class. */
  readonly support: number;
  /** Pictures that were said to be of this class. */
  readonly predictedCount: number;
  readonly correctCount: number;
  /** Of those said to be of this class, the part that is; null when none was. */
  readonly precision: number | null;
  /** Of this class, the part that was found; null when there was none. */
  readonly recall: number | null;
  /** 2 TP / (2 TP + FP + FN); null when the class neither occurs nor was predicted. */
  readonly f1: number | null;
}

export interface ClassificationFigures {
  readonly count: number;
  readonly correctCount: number;
  /** NaN when there is nothing to judge by. */
  readonly accuracy: number;
  /** Means over the classes that occur or were predicted, an undefined figure counting as 0, as in scikit-learn. */
  readonly macro: { readonly precision: number; readonly recall: number; readonly f1: number };
  readonly classes: readonly ClassFigures[];
}

export interface Confusion {
  readonly label: number;
  readonly predicted: number;
  readonly count: number;
  /** Of the pictures of `label`, the part that was taken for `predicted`. */
  readonly share: number;
}

/**
 * Counts labels against predictions, class indices from 0. A prediction of -1 says that there was no answer
 * (a diverged model's probabilities are not numbers).
 * @throws RangeError when the lengths differ or an index is no class
 */
export function confusionMatrix(labels: ArrayLike<number>, predictions: ArrayLike<number>, classCount: number): ConfusionMatrix {
  if (labels.length !== predictions.length) throw new RangeError(`${labels.length} labels, but ${predictions.length} predictions`);
  const counts = new Uint32Array(classCount * classCount);
  const unanswered = new Uint32Array(classCount);
  const isClass = (index: number) => Number.isInteger(index) && index >= 0 && index < classCount;
  for (let i = 0; i < labels.length; i++) {
    const [label, predicted] = [labels[i]!, predictions[i]!];
    if (!isClass(label) || !(predicted === -1 || isClass(predicted))) {
      throw new RangeError(`label ${label}, prediction ${predicted} at ${i}: the ${classCount} classes are 0 to ${classCount - 1}`);
    }
    if (predicted === -1) unanswered[label]!++;
    else counts[label * classCount + predicted]!++;
  }
  return { classCount, counts, unanswered };
}

/** Accuracy, and precision, recall and F1 of each class and their macro means. */
export function classificationFigures({ classCount, counts, unanswered }: ConfusionMatrix): ClassificationFigures {
  const support = Uint32Array.from(unanswered);
  const predictedCount = new Uint32Array(classCount);
  for (let label = 0; label < classCount; label++) {
    for (let predicted = 0; predicted < classCount; predicted++) {
      const count = counts[label * classCount + predicted]!;
      support[label]! += count;
      predictedCount[predicted]! += count;
    }
  }
  const classes = Array.from({ length: classCount }, (_, c) => classFigures(c, support[c]!, predictedCount[c]!, counts[c * classCount + c]!));
  const count = support.reduce((sum, n) => sum + n, 0);
  const correctCount = classes.reduce((sum, c) => sum + c.correctCount, 0);
  const occurring = classes.filter((c) => c.f1 !== null);
  const macroMean = (name: 'precision' | 'recall' | 'f1') => occurring.reduce((sum, c) => sum + (c[name] ?? 0), 0) / occurring.length;
  return {
    count,
    correctCount,
    accuracy: correctCount / count,
    macro: { precision: macroMean('precision'), recall: macroMean('recall'), f1: macroMean('f1') },
    classes,
  };
}

function classFigures(classIndex: number, support: number, predictedCount: number, correctCount: number): ClassFigures {
  const part = (of: number, whole: number) => (whole === 0 ? null : of / whole);
  return {
    classIndex,
    support,
    predictedCount,
    correctCount,
    precision: part(correctCount, predictedCount),
    recall: part(correctCount, support),
    f1: part(2 * correctCount, support + predictedCount),
  };
}

/** The pairs of classes that were taken for one another most often, by count, then by share of the true class. */
export function mostConfused(matrix: ConfusionMatrix, limit: number): Confusion[] {
  const { classCount, counts } = matrix;
  const { classes } = classificationFigures(matrix);
  const confusions: Confusion[] = [];
  for (let cell = 0; cell < counts.length; cell++) {
    const [label, predicted, count] = [Math.floor(cell / classCount), cell % classCount, counts[cell]!];
    if (count > 0 && label !== predicted) confusions.push({ label, predicted, count, share: count / classes[label]!.support });
  }
  return confusions.sort((a, b) => b.count - a.count || b.share - a.share).slice(0, limit);
}
