import { execFile } from 'node:child_process';
import { readFile, writeFile, cp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { duration, toPromQl } from './metrics/expression.js';
import { ALERT_RULES } from './queries/alerts.js';
import { hasPrometheus, temporaryFolder } from './testing/prometheus.js';

const MONITORING = fileURLToPath(new URL('../../../tools/deploy/monitoring/', import.meta.url));
const promtool = (...args: string[]) => promisify(execFile)('promtool', args);

describe('the alert rules for Prometheus', () => {
  it("are the dashboard's own", async () => {
    const { groups } = parse(await readFile(join(MONITORING, 'alerts.yml'), 'utf8')) as { groups: { rules: unknown[] }[] };
    expect(groups.flatMap(({ rules }) => rules)).toEqual(ALERT_RULES.map(({ name, severity, expression, forMs, summary }) => ({ alert: name, expr: toPromQl(expression), ...(forMs > 0 ? { for: duration(forMs) } : {}), labels: { severity }, annotations: { summary: summary.replace(/\{(\w+)\}/g, '{{ $labels.$1 }}') } })));
  });

  it.skipIf(!hasPrometheus)('fire when they should and not when they should not, by promtool (left out where it is not installed)', async () => {
    expect((await promtool('test', 'rules', join(MONITORING, 'rules.test.yml'))).stdout).toContain('SUCCESS');
    const tests = await readFile(join(MONITORING, 'rules.test.yml'), 'utf8');
    for (const { name } of ALERT_RULES) expect(tests).toContain(`alertname: ${name}`);
  });
});

describe.skipIf(!hasPrometheus)("Prometheus's configurations (left out where it is not installed)", () => {
  it('are valid', async () => {
    expect((await promtool('check', 'config', join(MONITORING, 'prometheus.yml'))).stdout).toContain('is valid');
    // Debian's is built without the discovery on Kubernetes: the rest is checked.
    await using folder = await temporaryFolder();
    await cp(MONITORING, folder.path, { recursive: true });
    const config = parse(await readFile(join(MONITORING, 'prometheus-kubernetes.yml'), 'utf8')) as { scrape_configs: Record<string, unknown>[] };
    const [job] = config.scrape_configs;
    expect(job!['kubernetes_sd_configs']).toEqual([{ role: 'pod' }]);
    delete job!['kubernetes_sd_configs'];
    await writeFile(join(folder.path, 'rest.yml'), stringify(config));
    expect((await promtool('check', 'config', join(folder.path, 'rest.yml'))).stdout).toContain('is valid');
  });
});
