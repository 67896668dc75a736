import fc from 'fast-check';
import { Gauge, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { ExpositionError, parseExposition, parseSeries } from './exposition.js';

describe('the text of a scrape', () => {
  it('gives each sample, without comments, timestamps and exemplars', () => {
    const text = '# HELP a Something.\n# TYPE a counter\na_total{b="c",d="e}"} 3 1395066363000\n\nb 1.5e-3 # {trace="x"} 0.5\nc{} +Inf\nd NaN\ne -Inf';
    expect(parseExposition(text)).toEqual([
      { series: 'a_total{b="c",d="e}"}', value: 3 },
      { series: 'b', value: 0.0015 },
      { series: 'c{}', value: Number.POSITIVE_INFINITY },
      { series: 'd', value: Number.NaN },
      { series: 'e', value: Number.NEGATIVE_INFINITY },
    ]);
  });

  it('takes the first of a series that comes twice', () => {
    expect(parseExposition('a 1\na 2\n')).toEqual([{ series: 'a', value: 1 }]);
  });

  it.each([
    ['<html>\n', 1, 'no metric'],
    ['a 1\nb{c="d 2\n', 2, "don't end"],
    ['a\n', 1, 'no number'],
    ['a 1\n\nb one', 3, 'no number: one'],
    ['a 1 noon', 1, 'no timestamp'],
  ])('that is broken, as %j, names the line', (text, line, problem) => {
    expect(() => parseExposition(text)).toThrow(new RegExp(`^line ${line}: .*${problem}`));
    expect(() => parseExposition(text)).toThrow(ExpositionError);
  });

  it('never fails but by saying where', () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom('a', '{', '}', '"', '\\', '=', ',', ' ', '1', '\n', '#') }), (text) => {
      try {
        parseExposition(text);
      } catch (error) {
        expect(error).toBeInstanceOf(ExpositionError);
      }
    }));
  });
});

describe('a series', () => {
  it('has its labels, with what was escaped', () => {
    expect(parseSeries('a{b="c\\"d\\\\e\\nf", g="",h="1",}')).toEqual({ __name__: 'a', b: 'c"d\\e\nf', h: '1' });
    expect(parseSeries('a')).toEqual({ __name__: 'a' });
  });

  it.each(['a{b}', 'a{b=c}', 'a{b="c" d="e"}', 'a{b="c",b="d"}', 'a{,}'])('%s is refused', (series) => {
    expect(() => parseSeries(series)).toThrow(/label/);
  });

  it("comes back as prom-client was given it, whatever the label's text", async () => {
    await fc.assert(fc.asyncProperty(fc.string({ minLength: 1, unit: 'binary' }).filter((text) => !/[\r\t\v\f]/.test(text)), fc.double({ noDefaultInfinity: false }), async (label, value) => {
      const registry = new Registry();
      new Gauge({ name: 'a', help: 'A.', labelNames: ['label'], registers: [registry] }).set({ label }, value);
      const [sample] = parseExposition(await registry.metrics());
      expect(parseSeries(sample!.series)).toEqual({ __name__: 'a', label });
      expect(sample!.value + 0).toEqual(value + 0);
    }), { numRuns: 100 });
  });
});
