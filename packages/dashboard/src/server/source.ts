import type { Alert, TargetState } from '../contract.js';
import type { Row, Span } from '../metrics/evaluate.js';
import type { Expression } from '../metrics/expression.js';
import { ALERT_RULES, describeAlert } from '../queries/alerts.js';

/** Where metrics come from: the dashboard's own scrapes, or a Prometheus. */
export interface MetricsSource extends AsyncDisposable {
  readonly kind: 'embedded' | 'prometheus';
  /** Of the Prometheus; empty for the embedded one. */
  readonly url: string;
  /** ms between two scrapes of a target. */
  intervalMs(): Promise<number>;
  /** @throws Refusal (502) that says what is wrong with the source */
  range(expression: Expression, span: Span, signal?: AbortSignal): Promise<Row[]>;
  targets(signal?: AbortSignal): Promise<TargetState[]>;
  /** Alerts of the source's own rules, beside the dashboard's. */
  otherAlerts(signal?: AbortSignal): Promise<Alert[]>;
  /** What isn't well with the source itself. */
  problems(): string[];
  /** Calls back when there are new samples; gives what ends it. */
  onTick(listener: () => void): () => void;
}

const ALERT_STEPS = 10;

/** What of the dashboard's rules holds now, and has held for as long as the rule asks. */
export async function firingAlerts(source: MetricsSource, nowMs: number, signal?: AbortSignal): Promise<Alert[]> {
  const own = await Promise.all(ALERT_RULES.map(async (rule) => {
    const stepMs = Math.max(1000, rule.forMs / ALERT_STEPS);
    const rows = await source.range(rule.expression, { startMs: nowMs - rule.forMs, endMs: nowMs, stepMs }, signal);
    return rows.filter(({ there }) => there.every((held) => held === 1)).map(({ labels }): Alert => ({ name: rule.name, severity: rule.severity, summary: describeAlert(rule, labels), labels: { ...labels } }));
  }));
  return [...own.flat(), ...(await source.otherAlerts(signal))];
}
