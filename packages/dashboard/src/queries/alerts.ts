import { type Expression, aggregate, compare, divide, fits, over, rate, select, sumBy } from '../metrics/expression.js';

/** A state that somebody should look at. `tools/deploy/monitoring/alerts.yml` has the same rules for a Prometheus and its Alertmanager. */
export interface AlertRule {
  name: string;
  severity: 'critical' | 'warning';
  expression: Expression;
  /** Only what has held for so long counts. */
  forMs: number;
  /** What is wrong and what to look at; `{label}` stands for a label's value. */
  summary: string;
}

const MINUTE = 60_000;
const WORK = fits('route', '/v1/classify|/v1/explain|/v2/.*infer');
const ageOf = (metric: string, by: readonly string[]): Expression => ({ kind: 'age', of: aggregate('max', by, select(metric)) });
const requests = (...matchers: Parameters<typeof fits>[]): Expression => sumBy(['instance'], rate(select('chameleon_http_requests_total', WORK, ...matchers.map(([label, value]) => fits(label, value))), 5 * MINUTE));

export const ALERT_RULES: readonly AlertRule[] = [
  { name: 'ChameleonTargetDown', severity: 'critical', forMs: 15_000, summary: '{instance} can\'t be scraped: it is down, or out of reach.', expression: compare(aggregate('max', ['job', 'instance'], select('up', fits('job', 'chameleon.*'))), '==', 0) },
  { name: 'ChameleonWorkerSilent', severity: 'critical', forMs: 0, summary: 'Worker {worker} of {run} has not been heard of for more than 30 s.', expression: compare(ageOf('chameleon_worker_heartbeat_timestamp_seconds', ['run', 'worker']), '>', 30) },
  { name: 'ChameleonCheckpointOld', severity: 'warning', forMs: 5 * MINUTE, summary: 'The last checkpoint of {run} is more than an hour old: a fault would cost as much.', expression: compare(ageOf('chameleon_train_checkpoint_timestamp_seconds', ['run']), '>', 3600) },
  { name: 'ChameleonRunRestarts', severity: 'warning', forMs: 0, summary: '{run} has started anew more than three times within a quarter of an hour.', expression: compare(sumBy(['run'], over('increase', select('chameleon_train_restarts_total'), 15 * MINUTE)), '>', 3) },
  { name: 'ChameleonExchangeSlow', severity: 'warning', forMs: 10 * MINUTE, summary: '{run} spends more than half of a step on the exchange of gradients.', expression: compare(divide(sumBy(['run'], rate(select('chameleon_train_phase_seconds_sum', fits('phase', 'exchange')), 5 * MINUTE)), sumBy(['run'], rate(select('chameleon_train_phase_seconds_sum'), 5 * MINUTE))), '>', 0.5) },
  { name: 'ChameleonGpuHot', severity: 'warning', forMs: 2 * MINUTE, summary: 'GPU {gpu} of {worker} is above 87 °C and will slow down.', expression: compare(aggregate('max', ['worker', 'gpu'], select('chameleon_gpu_temperature_celsius')), '>', 87) },
  { name: 'ChameleonServerErrors', severity: 'critical', forMs: MINUTE, summary: '{instance} fails more than 5 % of its requests.', expression: compare(divide(requests(['status', '5..']), requests()), '>', 0.05) },
  { name: 'ChameleonLatencyHigh', severity: 'warning', forMs: 2 * MINUTE, summary: 'One request in a hundred takes {instance} more than a second.', expression: compare({ kind: 'quantile', q: 0.99, of: sumBy(['le', 'instance'], rate(select('chameleon_http_request_seconds_bucket', WORK), 5 * MINUTE)) }, '>', 1) },
  { name: 'ChameleonQueueFull', severity: 'warning', forMs: MINUTE, summary: '{instance} turns requests away because its queue is full: it needs more machines, or a larger queue.', expression: compare(sumBy(['instance'], rate(select('chameleon_rejected_total', fits('reason', 'queue-full|queue-timeout')), 5 * MINUTE)), '>', 0) },
  { name: 'ChameleonCanaryRolledBack', severity: 'warning', forMs: 0, summary: 'A canary of {model} was taken back within the last hour.', expression: compare(sumBy(['model'], over('increase', select('chameleon_canary_rollbacks_total'), 60 * MINUTE)), '>', 0) },
];

/** A rule's sentence with the labels of what it fires for. */
export const describeAlert = ({ summary }: AlertRule, labels: Readonly<Record<string, string>>): string => summary.replace(/\{(\w+)\}/g, (_, label: string) => labels[label] ?? 'unknown');
