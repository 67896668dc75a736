import { readFile } from 'node:fs/promises';
import { UserError } from '@chameleon/core';
import { parse } from 'yaml';
import { z } from 'zod';

/** Workers on other machines, started over OpenSSH. */

const name = z.string().regex(/^[\w.@:-]+$/, 'a name of letters, digits and . @ : _ -').refine((text) => !text.startsWith('-'), 'a name does not start with -');
const hostsSchema = z.strictObject({
  /** A configuration of ssh's own to use instead of the user's: keys, known hosts, jumps. */
  ssh_config: z.string().min(1).optional(),
  hosts: z.array(z.strictObject({
    host: name,
    user: name.optional(),
    port: z.number().int().min(1).max(65_535).optional(),
    /** Workers there. */
    workers: z.number().int().min(1).max(1024).default(1),
    /** The folder that Chameleon lies in there, or is installed in. */
    folder: z.string().min(1),
    /** Where the pictures lie there, if not where the coordinator has them. */
    data: z.string().min(1).optional(),
    threads: z.number().int().min(1).optional(),
  })).min(1),
});
export type SshHosts = z.infer<typeof hostsSchema>;

/** @throws UserError that names what is wrong in the file */
export async function readHosts(path: string): Promise<SshHosts> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new UserError(`The list of hosts ${path} can't be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`, { exitCode: 2, cause: error });
  });
  const parsed = hostsSchema.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  throw new UserError(`The list of hosts ${path} is wrong. ${parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`).join('; ')}.`, { exitCode: 2 });
}

export interface SshWorker {
  id: string;
  node: string;
  command: [file: string, args: string[]];
}

/**
 * What starts a worker there. The token comes as the first line of standard input, so that no process list shows it; the worker leaves
 * when that input ends.
 */
export function sshWorkers({ hosts, ssh_config: config }: SshHosts, coordinator: string): SshWorker[] {
  return hosts.flatMap((host) => Array.from({ length: host.workers }, (_, slot): SshWorker => {
    const node = host.workers === 1 ? host.host : `${host.host}/${slot}`;
    const worker = ['npx', '--no-install', 'chameleon', 'worker', '--attached', '--coordinator', coordinator, '--node', node, ...(host.data ? ['--data', host.data] : []), ...(host.workers > 1 ? ['--share', `${slot}/${host.workers}`] : []), ...(host.threads ? ['--threads', String(host.threads)] : [])];
    const script = [
      `cd ${quote(host.folder)} || { echo ${quote(`error: there is no folder ${host.folder} on ${host.host}: clone and set up Chameleon there, or mend "folder" in the list of hosts`)} >&2; exit 1; }`,
      `command -v npx > /dev/null || { echo ${quote(`error: Node is not on ${host.host}, or not in the PATH that a shell without a terminal has there: install it, or set PATH in ~/.bashrc before the line that leaves early`)} >&2; exit 127; }`,
      `read -r CHAMELEON_JOIN_TOKEN && export CHAMELEON_JOIN_TOKEN && exec ${worker.map(quote).join(' ')}`,
    ].join('; ');
    const target = host.user ? `${host.user}@${host.host}` : host.host;
    return { id: node, node, command: ['ssh', [...(config ? ['-F', config] : []), '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10', '-o', 'ServerAliveInterval=5', ...(host.port ? ['-p', String(host.port)] : []), '--', target, script]] };
  }));
}

/** A word as the Bourne shell reads it. */
export const quote = (word: string): string => (/^[\w./:@=,+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
