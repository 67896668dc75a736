import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classificationFigures, confusionMatrix, mostConfused } from './confusion-matrix.js';

const labels = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2];
const predictions = [0, 0, 0, 1, 1, 1, 2, 2, 0, 0];

describe('a confusion matrix', () => {
  it('has the true classes as rows and the predicted as columns', () => {
    expect([...confusionMatrix(labels, predictions, 3).counts]).toEqual([3, 1, 0, 0, 2, 1, 2, 0, 1]);
  });

  it('gives accuracy, and precision, recall and F1 of each class', () => {
    const figures = classificationFigures(confusionMatrix(labels, predictions, 3));
    expect(figures).toMatchObject({ count: 10, correctCount: 6, accuracy: 0.6 });
    expect(figures.classes.map((c) => c.precision)).toEqual([3 / 5, 2 / 3, 1 / 2]);
    expect(figures.classes.map((c) => c.recall)).toEqual([3 / 4, 2 / 3, 1 / 3]);
    expect(figures.classes.map((c) => c.f1)).toEqual([6 / 9, 4 / 6, 2 / 5]);
    expect(figures.macro.f1).toBeCloseTo((6 / 9 + 4 / 6 + 2 / 5) / 3, 12);
  });

  it('leaves a figure undefined where nothing defines it, and counts it as 0 in the macro mean', () => {
    const { classes, macro } = classificationFigures(confusionMatrix([0, 1], [0, 0], 3));
    expect(classes[1]).toMatchObject({ precision: null, recall: 0, f1: 0 });
    expect(classes[2]).toMatchObject({ support: 0, precision: null, recall: null, f1: null });
    expect(macro).toEqual({ precision: 0.25, recall: 0.5, f1: (2 / 3 + 0) / 2 });
  });

  it('counts a picture without an answer as wrong', () => {
    const figures = classificationFigures(confusionMatrix([0, 0, 1], [0, -1, 1], 2));
    expect(figures).toMatchObject({ count: 3, correctCount: 2 });
    expect(figures.classes[0]).toMatchObject({ support: 2, predictedCount: 1, recall: 0.5, precision: 1 });
  });

  it('refuses lengths that differ and indices that are no class', () => {
    expect(() => confusionMatrix([0], [0, 1], 2)).toThrow(RangeError);
    expect(() => confusionMatrix([2], [0], 2)).toThrow('the 2 classes are 0 to 1');
    expect(() => confusionMatrix([0], [-2], 2)).toThrow(RangeError);
  });

  it('of nothing has no accuracy', () => {
    expect(classificationFigures(confusionMatrix([], [], 2)).accuracy).toBeNaN();
  });

  it('lists the most confused pairs first', () => {
    expect(mostConfused(confusionMatrix(labels, predictions, 3), 2)).toEqual([
      { label: 2, predicted: 0, count: 2, share: 2 / 3 },
      { label: 1, predicted: 2, count: 1, share: 1 / 3 },
    ]);
  });

  it('has as accuracy the recall of all classes weighted by their support', () => {
    const run = fc.integer({ min: 2, max: 12 }).chain((classCount) =>
      fc.tuple(fc.constant(classCount), fc.array(fc.tuple(fc.nat(classCount - 1), fc.integer({ min: -1, max: classCount - 1 })), { minLength: 1, maxLength: 200 })),
    );
    fc.assert(
      fc.property(run, ([classCount, pairs]) => {
        const matrix = confusionMatrix(pairs.map(([label]) => label), pairs.map(([, predicted]) => predicted), classCount);
        const { accuracy, count, classes } = classificationFigures(matrix);
        expect(count).toBe(pairs.length);
        expect(classes.reduce((sum, c) => sum + (c.recall ?? 0) * c.support, 0) / count).toBeCloseTo(accuracy, 9);
        const wrong = mostConfused(matrix, Infinity).reduce((sum, c) => sum + c.count, 0) + matrix.unanswered.reduce((sum, n) => sum + n, 0);
        expect(wrong).toBe(pairs.filter(([label, predicted]) => label !== predicted).length);
      }),
    );
  });
});
