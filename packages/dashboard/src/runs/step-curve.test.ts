import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StepCurve } from './step-curve.js';

const push = (curve: StepCurve, step: number, loss: number) => curve.push({ step, loss, correct: 1, pictures: 2, atMs: step * 10 });

describe('a curve over steps', () => {
  it('keeps each stretch\'s mean, least and greatest, however few points are asked for', () => {
    fc.assert(fc.property(fc.array(fc.oneof({ weight: 9, arbitrary: fc.double({ min: -1e6, max: 1e6, noNaN: true }) }, { weight: 1, arbitrary: fc.constant(Number.NaN) }), { minLength: 1, maxLength: 500 }), fc.integer({ min: 10, max: 100 }), (losses, pointCount) => {
      const curve = new StepCurve();
      losses.forEach((loss, i) => push(curve, i + 1, loss));
      const points = curve.points(1, losses.length, pointCount);
      expect(points.steps.length).toBeLessThanOrEqual(pointCount + 1);
      expect(points.steps.at(-1)).toBe(losses.length);
      const finite = losses.filter(Number.isFinite);
      const [lows, highs] = [points.low, points.high].map((values) => values.filter(Number.isFinite));
      expect([Math.min(...lows!), Math.max(...highs!)]).toEqual([Math.min(...finite), Math.max(...finite)]);
      expect(points.accuracy.every((share) => share === 0.5)).toBe(true);
    }));
  });

  it('has a point a step where there is room for it', () => {
    const curve = new StepCurve();
    for (let step = 1; step <= 50; step++) push(curve, step, step);
    expect(curve.points(11, 20, 800)).toMatchObject({ steps: [11, 12, 13, 14, 15, 16, 17, 18, 19, 20], loss: [11, 12, 13, 14, 15, 16, 17, 18, 19, 20], stepsPerPoint: 1 });
  });

  it('takes back the steps after which a run went on', () => {
    const curve = new StepCurve();
    for (let step = 1; step <= 30; step++) push(curve, step, step);
    curve.truncate(20);
    for (let step = 21; step <= 25; step++) push(curve, step, 100 + step);
    expect(curve.lastStep).toBe(25);
    expect(curve.points(18, 40, 100).loss).toEqual([18, 19, 20, 121, 122, 123, 124, 125]);
    curve.truncate(0);
    expect(curve.points(1, 40, 100).steps).toEqual([]);
  });

  it('of two million steps stays within its bound and loses no peak', () => {
    const curve = new StepCurve();
    const count = 2_000_000;
    for (let step = 1; step <= count; step++) push(curve, step, step === 1_234_567 ? 1000 : step === 345_678 ? -1000 : 1);
    const points = curve.points(1, count, 500);
    expect(points.steps.at(-1)).toBe(count);
    expect(points.steps.length).toBeLessThanOrEqual(501);
    expect([Math.min(...points.low), Math.max(...points.high)]).toEqual([-1000, 1000]);
    const near = curve.points(1_234_500, 1_234_600, 500);
    expect([near.stepsPerPoint, Math.max(...near.high)]).toEqual([8, 1000]);
  });
});
