import express, { type Response, Router } from 'express';
import { z } from 'zod';
import { type CommandName, type Curve, type LiveSettings, type Mistakes, type RunCommand, type curveSchema, runCommandSchema } from '../contract.js';
import { readExperiments } from '../runs/experiments.js';
import { type Picture, readMistakes, readPicture } from '../runs/mistakes.js';
import type { RunLibrary } from '../runs/run-library.js';
import type { Access } from './access.js';
import { toWire } from './answer-query.js';
import { Refusal, messageOf } from './errors.js';
import { askForHeatMap, findServer } from './heat-maps.js';
import type { MetricsSource } from './source.js';

/** Gives commands to a live run's coordinator: what it answers is a sentence for the page. */
export interface RunControl {
  readonly commands: readonly CommandName[];
  /** @throws with the reason, for the page */
  command(run: string, command: RunCommand): Promise<string>;
  /** @throws with the reason, for the page */
  settings(run: string): Promise<LiveSettings>;
}

export interface RunRoutesParts {
  runs: RunLibrary;
  source: MetricsSource;
  access: Access;
  control: RunControl | null;
}

const NO_COORDINATOR = 'No coordinator is connected that takes this command. Start the dashboard with --coordinator.';

const listQuery = z.object({ filter: z.string().max(200).default(''), offset: z.coerce.number().int().min(0).default(0), limit: z.coerce.number().int().min(1).max(200).default(50) });
const curveQuery = z.object({ from: z.coerce.number().min(0).default(0), to: z.coerce.number().min(0).default(Number.MAX_SAFE_INTEGER), points: z.coerce.number().int().min(10).max(5_000).default(800) });

/** What is read out of run directories. */
export function runRoutes({ runs, source, access, control }: RunRoutesParts): Router {
  const router = Router();
  const nowMs = () => Date.now();
  const pathOf = async (id: string): Promise<string> => {
    const path = await runs.pathOf(id);
    if (path === null) throw new Refusal(404, `There is no run called ${id.slice(0, 200)} here.`);
    return path;
  };

  router.get('/runs', async (request, response) => void response.json(await runs.list(listQuery.parse(request.query), nowMs())));
  router.get('/runs/:id', async (request, response) => {
    await pathOf(request.params.id);
    response.json(await runs.detail(request.params.id, nowMs()));
  });
  router.get('/runs/:id/curve', async (request, response) => {
    const { from, to, points } = curveQuery.parse(request.query);
    await pathOf(request.params.id);
    const record = await runs.record(request.params.id);
    const { loss, low, high, accuracy, ...rest } = record.curve.points(from, to, points);
    const wired = { ...rest, loss: loss.map(toWire), low: low.map(toWire), high: high.map(toWire), accuracy: accuracy.map(toWire), readShare: record.readShare };
    response.json(wired satisfies z.input<typeof curveSchema> & Omit<Curve, 'loss' | 'low' | 'high' | 'accuracy'>);
  });

  router.get('/runs/:id/mistakes', async (request, response) => {
    const { mistakes, data } = await judged(request.params.id);
    const pictures = await Promise.all(mistakes.mistakes.map(async ({ path }) => data !== null && (await readPicture(data, path)) !== null));
    const heatMaps = (await findServer(request.params.id, source).catch(() => null)) !== null;
    response.json({ ...mistakes, heatMaps, mistakes: mistakes.mistakes.map((mistake, i) => ({ ...mistake, hasPicture: pictures[i]! })) } satisfies Mistakes);
  });
  router.get('/runs/:id/pictures/:index', async (request, response) => sendPicture(response, (await pictureOf(request.params.id, request.params.index)).picture));
  router.get('/runs/:id/heat-maps/:index', async (request, response) => {
    const { picture, told } = await pictureOf(request.params.id, request.params.index);
    const server = await findServer(request.params.id, source);
    if (server === null) throw new Refusal(404, 'No server that is watched serves this run\'s model.');
    sendPicture(response, { type: 'image/png', bytes: await askForHeatMap(server, { run: request.params.id, label: told, picture }) });
  });

  router.get('/experiments', async (_request, response) => {
    const experiments = (await Promise.all((await runs.experimentFiles()).map(readExperiments))).filter((found) => found !== null);
    response.json({ experiments });
  });

  const told = <Told>(answer: Promise<Told>): Promise<Told> => answer.catch((error: unknown) => {
    throw new Refusal(409, messageOf(error), { cause: error });
  });
  router.get('/runs/:id/settings', async (request, response) => {
    if (!control) throw new Refusal(404, NO_COORDINATOR);
    response.json(await told(control.settings(request.params.id)));
  });
  router.post('/runs/:id/commands/:command', express.json({ limit: '4kb' }), async (request, response) => {
    access.admitCommand(request);
    const name = control?.commands.find((known) => known === request.params.command);
    if (!control || !name) throw new Refusal(404, NO_COORDINATOR);
    const command = runCommandSchema.parse({ ...(request.body as object | undefined), name });
    response.json({ said: await told(control.command(request.params.id, command)) });
  });

  async function judged(id: string) {
    const path = await pathOf(id);
    const mistakes = await readMistakes(path, (await runs.record(id)).start?.classes ?? []);
    return { mistakes, data: await runs.dataFolder(id) };
  }

  /** One of the pictures that `mistakes` lists, and no other. */
  async function pictureOf(id: string, index: string): Promise<{ picture: Picture; told: string }> {
    const { mistakes, data } = await judged(id);
    const mistake = mistakes.mistakes.find((found) => String(found.index) === index);
    const picture = mistake && data !== null ? await readPicture(data, mistake.path) : null;
    if (!mistake || picture === null) throw new Refusal(404, 'The picture is no longer there.');
    return { picture, told: mistakes.classes[mistake.told] ?? '' };
  }

  return router;
}

function sendPicture(response: Response, { bytes, type }: Picture): void {
  response.set('content-type', type).set('cache-control', 'private, max-age=300').send(bytes);
}
