import { createServer } from 'node:http';
import { RunMetrics } from '@chameleon/trainer';

/**
 * Simulated workers for the scraper: each answers with what a real worker's registry exposes, whose figures grow with the time. The text is
 * made once and its numbers are filled in, so that this process is no bottleneck.
 */
const count = Number(process.argv[2]);
const metrics = new RunMetrics({ run: 'simulated', worker: null });
const time = new Date().toISOString();
metrics.observe({ type: 'generation', time, generation: 1, step: 0, epoch: 0, workers: ['w'], split: [8], reason: 'all are there' });
metrics.observe({ type: 'step', time, step: 1, epoch: 0, loss: 1, correct: 4, pictures: 8, learningRates: { head: 1e-3, body: 1e-5 }, dataSeconds: 0.01, computeSeconds: 0.1 });
metrics.observeWorker('WORKER', { samples: 8, phaseSeconds: { data: 0.01, forward: 0.05, backward: 0.1, exchange: 0.02, optimizer: 0.01 }, memoryBytes: 4e8 });
const { body, contentType } = await metrics.expose();
const lines = body.split('\n').map((line) => (line.startsWith('#') || line === '' ? { text: line } : { text: line.slice(0, line.lastIndexOf(' ') + 1), value: Number(line.slice(line.lastIndexOf(' ') + 1)) }));

const beganMs = Date.now();
function exposition(worker) {
  const steps = 1 + Math.floor((Date.now() - beganMs) / 100);
  return lines.map(({ text, value }) => (value === undefined ? text : text.replace('WORKER', `w${worker}`) + grown(text, value, steps, worker))).join('\n');
}

/** Counters grow with each step; what a step shows goes up and down; the rest stays. */
function grown(text, value, steps, worker) {
  if (text.includes('timestamp')) return Date.now() / 1000;
  if (/_(total|sum|count|bucket)\b/.test(text)) return value * steps * (1 + worker / 100);
  if (/loss|accuracy|memory|bytes/.test(text)) return value * (1 + 0.1 * Math.sin(steps / 7 + worker));
  return text.startsWith('chameleon_train_step') ? steps : value;
}

const server = createServer((request, response) => {
  const worker = /^\/workers\/(\d+)\/metrics$/.exec(request.url)?.[1];
  if (worker === undefined || Number(worker) >= count) return void response.writeHead(404).end();
  response.writeHead(200, { 'content-type': contentType }).end(exposition(Number(worker)));
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`at http://127.0.0.1:${server.address().port}\n`));
process.on('SIGTERM', () => process.exit(0));
