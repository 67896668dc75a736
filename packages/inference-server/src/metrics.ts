import { Counter, Gauge, Histogram, type Metric, Registry, type RegistryContentType, collectDefaultMetrics } from 'prom-client';

export type PredictPhase = 'decode' | 'queue' | 'compute' | 'encode';
type Labelled<Names extends string> = Record<Names, string>;

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const BATCH_SIZES = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128];

/** What prom-client says of one metric as data. */
export interface MetricData {
  name: string;
  help: string;
  type: 'counter' | 'gauge' | 'histogram' | 'summary';
  aggregator: string;
  values: { value: number; labels: Record<string, string | number>; metricName?: string; exemplar?: { labelSet: Record<string, string>; value: number; timestamp: number } | null }[];
}
export type MetricSnapshot = MetricData[];

/** The text of a scrape. */
export interface Exposition {
  contentType: string;
  body: string;
}

/** The server's figures, in a registry of its own. Histograms of time keep the request id of one case a bucket as exemplar. */
export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({ name: 'chameleon_http_requests_total', help: 'Requests answered.', labelNames: ['route', 'method', 'status'], registers: [] });
  readonly #requestSeconds = new Histogram({ name: 'chameleon_http_request_seconds', help: 'From the request to the end of its answer.', labelNames: ['route', 'method', 'status'], buckets: SECONDS, enableExemplars: true, registers: [] });
  readonly #phaseSeconds = new Histogram({ name: 'chameleon_predict_phase_seconds', help: 'A request\'s time in each stage.', labelNames: ['model', 'version', 'phase'], buckets: SECONDS, enableExemplars: true, registers: [] });
  readonly #batchSize = new Histogram({ name: 'chameleon_predict_batch_size', help: 'Pictures computed together.', labelNames: ['model'], buckets: BATCH_SIZES, registers: [] });
  readonly #predictions = new Counter({ name: 'chameleon_predictions_total', help: 'Pictures by their most probable class.', labelNames: ['model', 'version', 'class'], registers: [] });
  readonly #rejected = new Counter({ name: 'chameleon_rejected_total', help: 'Requests refused, by the code of their problem document.', labelNames: ['reason'], registers: [] });
  readonly #modelInfo = new Gauge({ name: 'chameleon_model_info', help: 'Versions that are loaded; label is stable, canary or none.', labelNames: ['model', 'version', 'label', 'architecture', 'backend', 'dtype'], aggregator: 'first', registers: [] });
  readonly #rollbacks = new Counter({ name: 'chameleon_canary_rollbacks_total', help: 'Canaries that the server took back by itself.', labelNames: ['model'], registers: [] });

  /** @param queueLengths pictures that are being decoded or wait, a model; asked at each scrape */
  constructor(queueLengths: () => ReadonlyMap<string, number>) {
    const queueLength = new Gauge({
      name: 'chameleon_predict_queue_length', help: 'Pictures that are being decoded or wait.', labelNames: ['model'], registers: [],
      collect() {
        this.reset();
        for (const [model, length] of queueLengths()) this.set({ model }, length);
      },
    });
    const metrics = [this.#requests, this.#requestSeconds, this.#phaseSeconds, this.#batchSize, queueLength, this.#predictions, this.#rejected, this.#modelInfo, this.#rollbacks];
    for (const metric of metrics) this.#registry.registerMetric(metric as Metric);
    collectDefaultMetrics({ register: this.#registry });
  }

  answered(labels: Labelled<'route' | 'method' | 'status'>, seconds: number, requestId: string): void {
    this.#requests.inc(labels);
    this.#requestSeconds.observe({ labels, value: seconds, exemplarLabels: exemplarOf(requestId) });
  }

  phase(labels: Labelled<'model' | 'version'> & { phase: PredictPhase }, seconds: number, requestId: string): void {
    this.#phaseSeconds.observe({ labels, value: seconds, exemplarLabels: exemplarOf(requestId) });
  }

  batch(model: string, size: number): void {
    this.#batchSize.observe({ model }, size);
  }

  predicted(labels: Labelled<'model' | 'version' | 'class'>): void {
    this.#predictions.inc(labels);
  }

  rejected(reason: string): void {
    this.#rejected.inc({ reason });
  }

  rolledBack(model: string): void {
    this.#rollbacks.inc({ model });
  }

  /** The versions that are loaded now, instead of those said before. */
  models(infos: readonly Labelled<'model' | 'version' | 'label' | 'architecture' | 'backend' | 'dtype'>[]): void {
    this.#modelInfo.reset();
    for (const info of infos) this.#modelInfo.set(info, 1);
  }

  /** Adds a figure of the process's own. */
  register(metric: Metric): void {
    this.#registry.registerMetric(metric);
  }

  /** All figures as data, for the process that puts several servers' together. */
  async snapshot(): Promise<MetricSnapshot> {
    return (await this.#registry.getMetricsAsJSON()) as unknown as MetricSnapshot;
  }

  /** The text of a scrape, in OpenMetrics (with exemplars) or Prometheus's own format. */
  async expose(openMetrics: boolean): Promise<Exposition> {
    const registry = openMetrics ? openMetricsView(this.#registry) : this.#registry;
    return { contentType: registry.contentType, body: await registry.metrics() };
  }
}

const exemplarOf = (requestId: string): Record<string, string> => ({ request_id: requestId });

/** prom-client renames counters for good when it writes OpenMetrics; it is given objects that stand before the real ones. */
function openMetricsView(registry: Registry): Registry<RegistryContentType> {
  const view = new Registry<RegistryContentType>();
  view.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  for (const metric of registry.getMetricsAsArray() as unknown as Metric[]) view.registerMetric(Object.create(metric) as Metric);
  return view;
}
