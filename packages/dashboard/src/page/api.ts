import { z } from 'zod';
import { type RunCommand, problemSchema } from '../contract.js';

/** An answer that is none: what the server said is wrong, or that it is out of reach. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** What the server answers, checked. @throws ApiError */
export async function ask<Schema extends z.ZodType>(path: string, schema: Schema, parameters: Record<string, string | number | null | undefined> = {}, signal?: AbortSignal): Promise<z.output<Schema>> {
  const search = new URLSearchParams(Object.entries(parameters).flatMap(([name, value]) => (value === null || value === undefined ? [] : [[name, String(value)]])));
  const answer = await send(`/api/${path}${search.size > 0 ? `?${search}` : ''}`, signal ? { signal } : {});
  const parsed = schema.safeParse(answer);
  if (!parsed.success) throw new ApiError(0, 'The dashboard\'s server answered something else than this page understands. Load the page again.');
  return parsed.data;
}

export async function logIn(password: string): Promise<void> {
  await send('/api/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ password }) });
}

/** Gives a command to a live run; what the coordinator said. */
export async function command(run: string, { name, ...rest }: RunCommand, csrfToken: string): Promise<string> {
  const answer = await send(`/api/runs/${encodeURIComponent(run)}/commands/${name}`, { method: 'POST', headers: { 'x-csrf-token': csrfToken, 'content-type': 'application/json' }, body: JSON.stringify(rest) });
  return z.object({ said: z.string() }).parse(answer).said;
}

async function send(address: string, options: RequestInit): Promise<unknown> {
  const answer = await fetch(address, options).catch((error: unknown) => {
    if ((error as Error).name === 'AbortError') throw error as Error;
    throw new ApiError(0, 'The dashboard\'s server can\'t be reached. It may have been stopped.');
  });
  const body: unknown = await answer.json().catch(() => undefined);
  if (answer.ok) return body;
  throw new ApiError(answer.status, problemSchema.safeParse(body).data?.detail ?? `The server answered with ${answer.status}.`);
}
