import { describe, expect, it } from 'vitest';
import { select } from '../metrics/expression.js';
import { serve } from '../testing/http.js';
import { freePort } from '../testing/prometheus.js';
import { PrometheusSource, durationMs } from './prometheus-source.js';

const span = { startMs: 1000, endMs: 3000, stepMs: 1000 };
const ask = async (url: string) => {
  await using source = new PrometheusSource(url);
  return source.range(select('a'), span);
};
const answering = (status: number, body: string) => serve((_request, response) => response.writeHead(status).end(body));

describe('a Prometheus', () => {
  it('gives its values at their moments, whatever numbers they are', async () => {
    const asked: string[] = [];
    await using server = await serve((request, response) => {
      request.on('data', (part: Buffer) => asked.push(`${request.url!} ${part.toString()}`));
      request.on('end', () => response.end(JSON.stringify({ status: 'success', data: { resultType: 'matrix', result: [{ metric: { a: 'b' }, values: [[1, '7'], [3, '+Inf']] }, { metric: {}, values: [[2, 'NaN']] }] } })));
    });
    const rows = await ask(`${server.url}/`);
    expect(rows.map(({ labels, values, there }) => [labels, [...values], [...there]])).toEqual([[{ a: 'b' }, [7, 0, Infinity], [1, 0, 1]], [{}, [0, Number.NaN, 0], [0, 1, 0]]]);
    expect(asked).toEqual(['/api/v1/query_range query=a&start=1&end=3&step=1']);
  });

  it.each([
    [200, '<!doctype html><p>Log in', 'it sends a page of HTML'],
    [200, '{"status":"success","data":{"resu', 'its JSON is not whole'],
    [200, '{"status":"success","data":{"result":[{"metric":{},"values":[["1",2]]}]}}', 'its JSON is not whole'],
    [400, '{"status":"error","error":"parse error"}', 'refuses the query (400): parse error'],
    [502, 'Bad Gateway', 'refuses the query (502)'],
  ])('that answers %i with %j is told of in words', async (status, body, words) => {
    await using server = await answering(status, body);
    await expect(ask(server.url)).rejects.toMatchObject({ status: 502, message: expect.stringContaining(words) as string });
  });

  it('that is not there is told of', async () => {
    await expect(ask(`http://127.0.0.1:${await freePort()}`)).rejects.toThrow(/can't be reached \(ECONNREFUSED\)/);
    expect(() => new PrometheusSource('prometheus')).toThrow(/no address of a Prometheus/);
  });

  it('that is slow, or stops in the middle of an answer, is not waited for', async () => {
    for (const answer of [() => undefined, (_: unknown, response: { write: (text: string) => unknown }) => void response.write('{"status":')]) {
      await using server = await serve(answer);
      await using source = new PrometheusSource(server.url, 100);
      await expect(source.range(select('a'), span)).rejects.toThrow(/does not answer within 0\.1 s/);
    }
  });

  it('is not waited for by a page that has gone', async () => {
    await using server = await serve(() => undefined);
    await using source = new PrometheusSource(server.url);
    const controller = new AbortController();
    const asked = source.range(select('a'), span, controller.signal);
    controller.abort();
    await expect(asked).rejects.toThrow(/can't be reached/);
  });

  it("has durations in its own writing", () => {
    expect(['15s', '1m30s', '500ms', '1h', '1d'].map(durationMs)).toEqual([15_000, 90_000, 500, 3_600_000, 86_400_000]);
  });
});
