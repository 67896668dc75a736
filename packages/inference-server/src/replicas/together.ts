import { AggregatorRegistry, Registry } from 'prom-client';
import type { Exposition, MetricData, MetricSnapshot } from '../metrics.js';

/** The figures of several processes as one server's. */

/** prom-client's own, with the type of content that its declaration leaves out. */
const { aggregate } = AggregatorRegistry as unknown as { aggregate: (snapshots: readonly MetricSnapshot[], contentType?: string) => { contentType: string; metrics(): Promise<string>; getMetricsAsJSON(): Promise<MetricSnapshot> } };

/** The text of a scrape of all of them: sums, and where that makes no sense what each metric's aggregator says. The newest exemplar of a bucket stays. */
export async function exposeTogether(snapshots: readonly MetricSnapshot[], openMetrics: boolean): Promise<Exposition> {
  // prom-client adds the ending itself in OpenMetrics, to names that it takes for new.
  const named = openMetrics ? snapshots.map((snapshot) => snapshot.map((metric) => (metric.type === 'counter' ? { ...metric, name: metric.name.replace(/_total$/, '') } : metric))) : snapshots;
  const registry = aggregate(named, openMetrics ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE);
  if (openMetrics) keepExemplars(named, await registry.getMetricsAsJSON());
  return { contentType: registry.contentType, body: await registry.metrics() };
}

/** What a process that has ended leaves to the sums: a counter that falls would be read as a restart of all. */
export async function withoutGauges(snapshots: readonly MetricSnapshot[]): Promise<MetricSnapshot> {
  const counted = snapshots.map((snapshot) => snapshot.filter(({ type }) => type === 'counter' || type === 'histogram'));
  return aggregate(counted).getMetricsAsJSON();
}

const keyOf = (metric: MetricData, { metricName, labels }: MetricData['values'][number]): string => JSON.stringify([metricName ?? metric.name, ...Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))]);

function keepExemplars(snapshots: readonly MetricSnapshot[], aggregated: MetricSnapshot): void {
  const newest = new Map<string, NonNullable<MetricData['values'][number]['exemplar']>>();
  for (const metric of snapshots.flat()) {
    for (const value of metric.values) {
      if (!value.exemplar) continue;
      const key = keyOf(metric, value), known = newest.get(key);
      if (!known || known.timestamp < value.exemplar.timestamp) newest.set(key, value.exemplar);
    }
  }
  for (const metric of aggregated) for (const value of metric.values) value.exemplar = newest.get(keyOf(metric, value)) ?? null;
}
