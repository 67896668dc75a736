import { expect, test } from 'vitest';
import { ServerMetrics } from '../metrics.js';
import { exposeTogether, withoutGauges } from './together.js';

function server(requests: number, queue: number, id: string): ServerMetrics {
  const metrics = new ServerMetrics(() => new Map([['clothes', queue]]));
  metrics.models([{ model: 'clothes', version: '1', label: 'stable', architecture: 'resnet34', backend: 'libtorch', dtype: 'bfloat16' }]);
  for (let i = 0; i < requests; i++) metrics.answered({ route: '/v1/classify', method: 'POST', status: '200' }, 0.02, id);
  return metrics;
}

test('the figures of several servers are sums, and what is the same of all is said once', async () => {
  const snapshots = await Promise.all([server(2, 3, 'a'), server(5, 4, 'b')].map((metrics) => metrics.snapshot()));
  const { body, contentType } = await exposeTogether(snapshots, false);
  expect(contentType).toContain('version=0.0.4');
  expect(body).toContain('chameleon_http_requests_total{route="/v1/classify",method="POST",status="200"} 7');
  expect(body).toMatch(/chameleon_http_request_seconds_bucket\{(?=[^}]*le="0.025")[^}]*\} 7\n/);
  expect(body).toContain('chameleon_predict_queue_length{model="clothes"} 7');
  expect(body).toMatch(/chameleon_model_info\{[^}]*\} 1\n/);
});

test('OpenMetrics keeps the names of counters and one exemplar a bucket', async () => {
  const snapshots = await Promise.all([server(1, 0, 'a'), server(1, 0, 'b')].map((metrics) => metrics.snapshot()));
  // What comes from another process has been JSON.
  const { body } = await exposeTogether(JSON.parse(JSON.stringify(snapshots)) as typeof snapshots, true);
  expect(body).toContain('# TYPE chameleon_http_requests counter');
  expect(body).toContain('chameleon_http_requests_total{route="/v1/classify",method="POST",status="200"} 2');
  expect(body).not.toContain('_total_total');
  expect(body).toMatch(/chameleon_http_request_seconds_bucket\{(?=[^}]*le="0.025")[^}]*\} 2 # \{request_id="[ab]"\} 0.02 \d/);
  expect(body.trimEnd().endsWith('# EOF')).toBe(true);
});

test('a server that has ended leaves its counts, and no gauges', async () => {
  const departed = await withoutGauges([await server(2, 3, 'a').snapshot()]);
  const { body } = await exposeTogether([departed, await server(1, 1, 'b').snapshot()], false);
  expect(body).toContain('chameleon_http_requests_total{route="/v1/classify",method="POST",status="200"} 3');
  expect(body).toContain('chameleon_predict_queue_length{model="clothes"} 1');
});
