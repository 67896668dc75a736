import { type Expression, aggregate, divide, fits, is, over, rate, select, sumBy } from '../metrics/expression.js';
import type { Matcher } from '../metrics/history.js';

/**
 * All that the page may ask of metrics, by name. Whoever asks gives a run or a model and a span of time; what is sent to Prometheus is
 * made here, so the server is no open proxy.
 */
export interface QueryScope {
  run?: string;
  model?: string;
  /** ms that a rate is taken over: at least four scrapes, and the step, so that nothing falls between two moments. */
  rateMs: number;
  /** ms; of gauges, the least and the greatest in it are asked for too. Null for a single moment, or where no two scrapes fall in a step. */
  envelopeMs: number | null;
}

/** One expression, whose rows are lines of a panel; `labels` tell it from the panel's others. */
export interface QueryPart {
  labels?: Readonly<Record<string, string>>;
  value: Expression;
  /** The least and the greatest of each step. */
  envelope?: { low: Expression; high: Expression };
}

export type QueryNeed = 'run' | 'model' | 'nothing';

interface NamedQuery {
  /** What has to be given; a model may be left out for all of them. */
  needs: QueryNeed;
  parts: (scope: QueryScope) => QueryPart[];
}

const ofRun = ({ run }: QueryScope): Matcher[] => (run === undefined ? [] : [is('run', run)]);
const ofModel = ({ model }: QueryScope): Matcher[] => (model === undefined ? [] : [is('model', model)]);
/** The calls that do the work; health checks and pages would dilute them. */
const WORK: readonly Matcher[] = [fits('route', '/v1/classify|/v1/explain|/v2/.*infer')];

/** A gauge by the labels that tell its lines apart. */
function gauge(metric: string, by: readonly string[], scopeOf: (scope: QueryScope) => Matcher[]): (scope: QueryScope) => QueryPart[] {
  return (scope) => {
    const of = select(metric, ...scopeOf(scope));
    const part: QueryPart = { value: aggregate('max', by, of) };
    if (scope.envelopeMs === null) return [part];
    return [{ ...part, envelope: { low: aggregate('min', by, over('min_over_time', of, scope.envelopeMs)), high: aggregate('max', by, over('max_over_time', of, scope.envelopeMs)) } }];
  };
}

/** The mean of what a histogram observed. */
const mean = (metric: string, by: readonly string[], matchers: readonly Matcher[], rateMs: number): Expression => divide(sumBy(by, rate(select(`${metric}_sum`, ...matchers), rateMs)), sumBy(by, rate(select(`${metric}_count`, ...matchers), rateMs)));
const quantile = (q: number, metric: string, by: readonly string[], matchers: readonly Matcher[], rateMs: number): Expression => ({ kind: 'quantile', q, of: sumBy(['le', ...by], rate(select(`${metric}_bucket`, ...matchers), rateMs)) });
const nothing = () => [];

export const QUERIES = {
  // What there is
  targets: { needs: 'nothing', parts: gauge('up', ['job', 'instance'], nothing) },
  runs: { needs: 'nothing', parts: gauge('chameleon_train_step', ['run'], nothing) },
  models: { needs: 'nothing', parts: gauge('chameleon_model_info', ['model', 'version', 'label', 'architecture', 'backend', 'dtype', 'instance'], nothing) },
  // A run
  loss: { needs: 'run', parts: gauge('chameleon_train_loss', ['split'], ofRun) },
  accuracy: { needs: 'run', parts: gauge('chameleon_train_accuracy_ratio', ['split'], ofRun) },
  'learning-rates': { needs: 'run', parts: gauge('chameleon_train_learning_rate', ['group'], ofRun) },
  step: { needs: 'run', parts: gauge('chameleon_train_step', [], ofRun) },
  epoch: { needs: 'run', parts: gauge('chameleon_train_epoch', [], ofRun) },
  'world-size': { needs: 'run', parts: gauge('chameleon_train_world_size', [], ofRun) },
  generation: { needs: 'run', parts: gauge('chameleon_train_generation', [], ofRun) },
  restarts: { needs: 'run', parts: gauge('chameleon_train_restarts_total', ['reason'], ofRun) },
  'images-per-second': {
    needs: 'run',
    parts: (scope) => {
      const grown = rate(select('chameleon_train_samples_total', ...ofRun(scope)), scope.rateMs);
      return [{ labels: { worker: 'all' }, value: sumBy([], grown) }, { value: sumBy(['worker'], grown) }];
    },
  },
  'step-phases': { needs: 'run', parts: (scope) => [{ value: mean('chameleon_train_phase_seconds', ['phase'], ofRun(scope), scope.rateMs) }] },
  'step-phases-by-worker': { needs: 'run', parts: (scope) => [{ value: mean('chameleon_train_phase_seconds', ['worker', 'phase'], ofRun(scope), scope.rateMs) }] },
  'compute-share': {
    needs: 'run',
    parts: (scope) => {
      const spent = (...matchers: Matcher[]) => sumBy([], rate(select('chameleon_train_phase_seconds_sum', ...ofRun(scope), ...matchers), scope.rateMs));
      return [{ value: divide(spent(fits('phase', 'forward|backward|optimizer')), spent()) }];
    },
  },
  'checkpoint-age': { needs: 'run', parts: (scope) => [{ value: { kind: 'age', of: aggregate('max', [], select('chameleon_train_checkpoint_timestamp_seconds', ...ofRun(scope))) } }] },
  'heartbeat-age': { needs: 'run', parts: (scope) => [{ value: { kind: 'age', of: aggregate('max', ['worker'], select('chameleon_worker_heartbeat_timestamp_seconds', ...ofRun(scope))) } }] },
  // Machines: these have no label of a run
  'worker-memory': { needs: 'nothing', parts: gauge('chameleon_worker_memory_bytes', ['worker'], nothing) },
  'gpu-utilization': { needs: 'nothing', parts: gauge('chameleon_gpu_utilization_ratio', ['worker', 'gpu'], nothing) },
  'gpu-memory': { needs: 'nothing', parts: gauge('chameleon_gpu_memory_bytes', ['worker', 'gpu'], nothing) },
  'gpu-temperature': { needs: 'nothing', parts: gauge('chameleon_gpu_temperature_celsius', ['worker', 'gpu'], nothing) },
  // A server
  requests: { needs: 'nothing', parts: ({ rateMs }) => [{ value: sumBy(['status'], rate(select('chameleon_http_requests_total', ...WORK), rateMs)) }] },
  'requests-by-server': { needs: 'nothing', parts: ({ rateMs }) => [{ value: sumBy(['instance'], rate(select('chameleon_http_requests_total', ...WORK), rateMs)) }] },
  latency: { needs: 'nothing', parts: ({ rateMs }) => [0.5, 0.95, 0.99].map((q) => ({ labels: { quantile: `p${q * 100}` }, value: quantile(q, 'chameleon_http_request_seconds', [], WORK, rateMs) })) },
  'predict-phases': { needs: 'model', parts: (scope) => [{ value: mean('chameleon_predict_phase_seconds', ['phase'], ofModel(scope), scope.rateMs) }] },
  'predict-phases-p95': { needs: 'model', parts: (scope) => [{ value: quantile(0.95, 'chameleon_predict_phase_seconds', ['phase'], ofModel(scope), scope.rateMs) }] },
  'batch-size': { needs: 'model', parts: (scope) => [{ value: mean('chameleon_predict_batch_size', ['model'], ofModel(scope), scope.rateMs) }] },
  'queue-length': { needs: 'model', parts: gauge('chameleon_predict_queue_length', ['model'], ofModel) },
  rejected: { needs: 'nothing', parts: ({ rateMs }) => [{ value: sumBy(['reason'], rate(select('chameleon_rejected_total'), rateMs)) }] },
  'versions-share': { needs: 'model', parts: (scope) => [{ value: { kind: 'share', of: sumBy(['version'], rate(select('chameleon_predictions_total', ...ofModel(scope)), scope.rateMs)) } }] },
  'versions-latency': { needs: 'model', parts: (scope) => [{ value: quantile(0.95, 'chameleon_predict_phase_seconds', ['version'], [...ofModel(scope), is('phase', 'compute')], scope.rateMs) }] },
  'class-shares': { needs: 'model', parts: (scope) => [{ value: { kind: 'share', of: sumBy(['class'], rate(select('chameleon_predictions_total', ...ofModel(scope)), scope.rateMs)) } }] },
  rollbacks: { needs: 'model', parts: (scope) => [{ value: sumBy(['model'], over('increase', select('chameleon_canary_rollbacks_total', ...ofModel(scope)), scope.rateMs)) }] },
} as const satisfies Record<string, NamedQuery>;

export type QueryName = keyof typeof QUERIES;
export const QUERY_NAMES = Object.keys(QUERIES) as [QueryName, ...QueryName[]];
