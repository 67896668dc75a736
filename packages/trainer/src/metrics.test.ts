import { describe, expect, it } from 'vitest';
import type { RunEvent } from './events.js';
import { RunMetrics, serveMetrics } from './metrics.js';

const time = new Date(1_700_000_000_000).toISOString();
const step = (more: Partial<Extract<RunEvent, { type: 'step' }>> = {}): RunEvent => ({ type: 'step', time, step: 3, epoch: 0, loss: 0.5, correct: 12, pictures: 16, learningRates: { head: 0.001, body: 0.00001 }, dataSeconds: 0.1, computeSeconds: 0.2, ...more });
const names = { run: '20261125-demo', worker: 'alone' };

async function valuesOf(metrics: RunMetrics): Promise<Map<string, number>> {
  const { body } = await metrics.expose();
  return new Map(body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

describe("a run's metrics", () => {
  it('tell workers apart that a coordinator hears of, and count on when one starts anew', async () => {
    const metrics = new RunMetrics({ run: 'r', worker: null });
    metrics.observe({ type: 'generation', time, generation: 2, step: 0, epoch: 0, workers: ['a', 'b'], split: [8, 8], reason: 'c died' });
    metrics.observe(step());
    for (const samples of [8, 24, 24, 8]) metrics.observeWorker('a', { samples, phaseSeconds: { forward: 0.2, waiting: 3 }, memoryBytes: 5e6 }, 1_700_000_000_000);
    const values = await valuesOf(metrics);
    for (const [series, value] of [
      ['chameleon_train_samples_total{run="r",worker="a"}', 32], ['chameleon_train_phase_seconds_count{run="r",worker="a",phase="forward"}', 3], ['chameleon_worker_memory_bytes{worker="a"}', 5e6],
      ['chameleon_worker_heartbeat_timestamp_seconds{run="r",worker="a"}', 1_700_000_000], ['chameleon_train_world_size{run="r"}', 2], ['chameleon_train_generation{run="r"}', 2], ['chameleon_train_restarts_total{run="r",reason="membership"}', 1],
    ] as const) expect(values.get(series), series).toBe(value);
    expect([...values.keys()].filter((series) => /worker="(null|alone)"/.test(series))).toEqual([]);
  });

  it('tell of each worker’s GPUs what the driver says, and forget a GPU that is gone', async () => {
    const metrics = new RunMetrics({ run: 'r', worker: null });
    const heard = (gpus: Parameters<RunMetrics['observeGpus']>[1]) => metrics.observeWorker('a', { samples: 0, phaseSeconds: {}, memoryBytes: 1, gpus });
    const seen = async () => [...(await valuesOf(metrics))].filter(([series]) => series.startsWith('chameleon_gpu'));
    expect(await seen()).toEqual([]);
    heard([{ index: 0, utilization: 0.5, memoryBytes: 2 ** 30, temperatureCelsius: 60 }, { index: 1, utilization: undefined, memoryBytes: 7 }]);
    expect(await seen()).toEqual([['chameleon_gpu_utilization_ratio{worker="a",gpu="0"}', 0.5], ['chameleon_gpu_memory_bytes{worker="a",gpu="0"}', 2 ** 30], ['chameleon_gpu_memory_bytes{worker="a",gpu="1"}', 7], ['chameleon_gpu_temperature_celsius{worker="a",gpu="0"}', 60]]);
    heard([{ index: 1, utilization: 0.1 }]);
    expect(await seen()).toEqual([['chameleon_gpu_utilization_ratio{worker="a",gpu="1"}', 0.1]]);
  });

  it('say what its last facts say', async () => {
    const metrics = new RunMetrics(names);
    metrics.observe({ type: 'resume', time, step: 2, epoch: 0 });
    metrics.observe(step());
    metrics.observe({ type: 'epoch', time, epoch: 0, step: 3, trainLoss: 0.6, trainAccuracy: 0.7, validLoss: 0.4, validAccuracy: 0.9, seconds: 1, picturesPerSecond: 16, learningRates: {} });
    metrics.observe({ type: 'checkpoint', time, step: 3, epoch: 1, best: true });
    const values = await valuesOf(metrics);
    const run = 'run="20261125-demo"';
    for (const [series, value] of [
      [`chameleon_train_loss{${run},split="train"}`, 0.5], [`chameleon_train_loss{${run},split="valid"}`, 0.4],
      [`chameleon_train_accuracy_ratio{${run},split="train"}`, 0.75], [`chameleon_train_accuracy_ratio{${run},split="valid"}`, 0.9],
      [`chameleon_train_learning_rate{${run},group="body"}`, 0.00001], [`chameleon_train_step{${run}}`, 3], [`chameleon_train_world_size{${run}}`, 1],
      [`chameleon_train_samples_total{${run},worker="alone"}`, 16], [`chameleon_train_restarts_total{${run},reason="resumed"}`, 1],
      [`chameleon_train_checkpoint_timestamp_seconds{${run}}`, 1_700_000_000], [`chameleon_worker_heartbeat_timestamp_seconds{${run},worker="alone"}`, 1_700_000_000],
    ] as const) expect(values.get(series), series).toBe(value);
  });

  it('share a step out among its phases, micro-batches together, validation left out', async () => {
    const metrics = new RunMetrics(names);
    const phases = [['data', 0], ['forward', 100], ['backward', 130], ['forward', 190], ['backward', 220], ['exchange', 280], ['optimizer', 281]] as const;
    for (const [phase, atMs] of phases) metrics.enterPhase(phase, atMs);
    metrics.enterPhase('validation', 291);
    metrics.observe(step());
    const values = await valuesOf(metrics);
    const sumOf = (phase: string) => values.get(`chameleon_train_phase_seconds_sum{run="20261125-demo",worker="alone",phase="${phase}"}`);
    expect(['data', 'forward', 'backward', 'exchange', 'optimizer'].map((phase) => Number(sumOf(phase)!.toFixed(6)))).toEqual([0.1, 0.06, 0.12, 0.001, 0.01]);
    expect(values.get('chameleon_train_phase_seconds_count{run="20261125-demo",worker="alone",phase="forward"}')).toBe(1);
  });

  it('forget the rate of a group that no longer learns', async () => {
    const metrics = new RunMetrics(names);
    metrics.observe(step());
    metrics.observe(step({ learningRates: { head: 0.001 } }));
    expect([...(await valuesOf(metrics)).keys()].filter((series) => series.startsWith('chameleon_train_learning_rate'))).toEqual(['chameleon_train_learning_rate{run="20261125-demo",group="head"}']);
  });

  it('are answered at /metrics of this machine, and nothing else is', async () => {
    await using served = await serveMetrics(new RunMetrics(names), 0);
    expect(served.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
    expect(await (await fetch(served.url)).text()).toContain('chameleon_train_world_size{run="20261125-demo"} 1');
    expect((await fetch(served.url.replace('metrics', 'secrets'))).status).toBe(404);
    await expect(serveMetrics(new RunMetrics(names), Number(new URL(served.url).port))).rejects.toThrow('--metrics-port');
  });
});
