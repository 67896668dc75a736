import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Request } from 'express';
import { z } from 'zod';
import type { Right } from '../contract.js';
import { DashboardError, Refusal } from './errors.js';

/** How whoever asks is known. */
export type AccessOptions =
  /** Anybody on this machine: for a loopback address. */
  | { kind: 'open' }
  /** One password for each right; the one that operates reads too. */
  | { kind: 'password'; read: string; operate: string | null }
  /** A proxy in front has logged the user in and says who it is. Only these addresses are believed. */
  | { kind: 'proxy'; header: string; trusted: readonly string[]; operators: readonly string[] };

export interface Caller {
  user: string;
  rights: readonly Right[];
  /** What a command has to bring along. */
  csrfToken: string;
}

const COOKIE = 'chameleon-dashboard';
const SESSION_MS = 12 * 3_600_000;
const SESSION_LIMIT = 1_000;
/** Wrong passwords a minute, of all callers together. */
const ATTEMPTS_A_MINUTE = 20;

const passwordsSchema = z.strictObject({ read: z.string().min(12), operate: z.string().min(12).optional() });

/** The passwords in a file `{"read": "…", "operate": "…"}`. @throws DashboardError when it isn't one, or others may read it */
export async function readPasswords(path: string): Promise<AccessOptions> {
  try {
    const { read, operate } = passwordsSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    return { kind: 'password', read, operate: operate ?? null };
  } catch (error) {
    throw new DashboardError(`${path} is no file of passwords. Write {"read": "…", "operate": "…"} into it, each of at least 12 characters; "operate" may be left out.`, { exitCode: 2, cause: error });
  }
}

export const isLoopback = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|::1)$/.test(host);

/** Tells who asks. Sessions are in memory: a new start of the dashboard asks for the password again. */
export class Access {
  readonly #sessions = new Map<string, Caller & { untilMs: number }>();
  /** Of callers without a session of their own: a page elsewhere can't read it. */
  readonly #token = randomBytes(32).toString('base64url');
  #attempts: number[] = [];

  constructor(private readonly options: AccessOptions) {}

  /** @throws Refusal 401 for a caller who has to log in, 403 for a name that isn't this machine's */
  admit(request: Request, right: Right): Caller {
    const caller = this.#caller(request);
    if (!caller.rights.includes(right)) throw new Refusal(403, `${caller.user} may not ${right} here.`);
    return caller;
  }

  /** Lets a command pass that comes from the page itself. @throws Refusal 403 */
  admitCommand(request: Request): Caller {
    const caller = this.admit(request, 'operate');
    refuseOtherOrigin(request);
    if (!same(request.get('x-csrf-token') ?? '', caller.csrfToken)) throw new Refusal(403, 'The page is out of date: load it again.');
    return caller;
  }

  /** A session for the one who knows a password: the text of its cookie. @throws Refusal 403, 429 */
  logIn(request: Request, password: string, nowMs: number): string {
    refuseOtherOrigin(request);
    if (this.options.kind !== 'password') throw new Refusal(409, 'No password is used here.');
    this.#attempts = this.#attempts.filter((atMs) => atMs > nowMs - 60_000);
    if (this.#attempts.length >= ATTEMPTS_A_MINUTE) throw new Refusal(429, 'Too many wrong passwords. Wait a minute.');
    const { read, operate } = this.options;
    const [reads, operates] = [same(password, read), operate !== null && same(password, operate)];
    if (!reads && !operates) {
      this.#attempts.push(nowMs);
      throw new Refusal(403, 'This is not the password.');
    }
    const key = randomBytes(32).toString('base64url');
    if (this.#sessions.size >= SESSION_LIMIT) this.#sessions.delete(this.#sessions.keys().next().value!);
    this.#sessions.set(key, { user: operates ? 'operator' : 'reader', rights: operates ? ['read', 'operate'] : ['read'], csrfToken: randomBytes(32).toString('base64url'), untilMs: nowMs + SESSION_MS });
    const secure = request.secure || request.get('x-forwarded-proto') === 'https' ? '; Secure' : '';
    return `${COOKIE}=${key}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${SESSION_MS / 1000}${secure}`;
  }

  #caller(request: Request): Caller {
    const { options } = this;
    switch (options.kind) {
      case 'open':
        // A page elsewhere could make its own name mean this machine.
        if (!isLoopback(hostName(request))) throw new Refusal(403, 'Without a password the dashboard answers under the name localhost only.');
        return { user: 'you', rights: ['read', 'operate'], csrfToken: this.#token };
      case 'password': {
        const key = new RegExp(`(?:^|;\\s*)${COOKIE}=([\\w-]+)`).exec(request.get('cookie') ?? '')?.[1];
        const session = key === undefined ? undefined : this.#sessions.get(key);
        if (!session || session.untilMs < Date.now()) throw new Refusal(401, 'Log in with the password.');
        return session;
      }
      case 'proxy': {
        const from = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
        const user = request.get(options.header);
        if (!options.trusted.includes(from) || !user) throw new Refusal(401, 'Come in through the proxy that logs you in.');
        return { user, rights: options.operators.includes(user) ? ['read', 'operate'] : ['read'], csrfToken: hash(`${this.#token} ${user}`).toString('base64url') };
      }
      default:
        return options satisfies never;
    }
  }
}

function hostName(request: Request): string {
  return (request.get('host') ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '').toLowerCase();
}

/** A browser says where a page comes from that sends something. */
function refuseOtherOrigin(request: Request): void {
  const origin = request.get('origin');
  if (origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== request.get('host'))) throw new Refusal(403, 'A page from elsewhere may not do this.');
}

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
const same = (a: string, b: string): boolean => timingSafeEqual(hash(a), hash(b));
