import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { earlyStopping } from './early-stopping.js';

describe('early stopping', () => {
  it('stops when as many epochs as its patience brought no improvement', () => {
    expect(earlyStopping({ patience: 2 }, [0.5, 0.7, 0.6])).toEqual({ stop: false, bestEpoch: 1 });
    expect(earlyStopping({ patience: 2 }, [0.5, 0.7, 0.6, 0.7])).toEqual({ stop: true, bestEpoch: 1 });
    expect(earlyStopping({ patience: 2 }, [0.5, 0.7, 0.6, 0.8])).toEqual({ stop: false, bestEpoch: 3 });
  });

  it('takes what is better by minDelta or less for none', () => {
    expect(earlyStopping({ patience: 1, minDelta: 0.125 }, [0.5, 0.625])).toEqual({ stop: true, bestEpoch: 0 });
    expect(earlyStopping({ patience: 1, minDelta: 0.125 }, [0.5, 0.75])).toEqual({ stop: false, bestEpoch: 1 });
  });

  it('does not stop before the first epoch, and not for a NaN that an improvement follows', () => {
    expect(earlyStopping({ patience: 1 }, [])).toEqual({ stop: false, bestEpoch: -1 });
    expect(earlyStopping({ patience: 2 }, [Number.NaN, 0.1])).toEqual({ stop: false, bestEpoch: 1 });
    expect(earlyStopping({ patience: 2 }, [Number.NaN, Number.NaN])).toEqual({ stop: true, bestEpoch: -1 });
  });

  it('never stops while each epoch is better, and always after a best one and its patience', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 1e6 }), { minLength: 1 }), fc.integer({ min: 1, max: 9 }), (values, patience) => {
      const rising = [...values].sort((a, b) => a - b);
      expect(earlyStopping({ patience }, rising)).toEqual({ stop: false, bestEpoch: rising.length - 1 });
      expect(earlyStopping({ patience }, [...rising, ...Array<number>(patience).fill(rising[0]!)]).stop).toBe(true);
    }));
  });

  it('refuses a patience of no epoch and a negative minDelta', () => {
    expect(() => earlyStopping({ patience: 0 }, [1])).toThrow('at least one epoch');
    expect(() => earlyStopping({ patience: 1, minDelta: -1 }, [1])).toThrow(RangeError);
  });
});
