import type { RunControl } from '@chameleon/dashboard';
import { type RunClient, openRunClient } from '@chameleon/trainer';

/** Gives the page's commands to a coordinator, whose word is what the page shows. */
export function controlOf(clientOf: () => RunClient): RunControl {
  return {
    commands: ['stop', 'checkpoint', 'unfreeze', 'set-rate'],
    command: async (run, command) => {
      const client = clientOf();
      switch (command.name) {
        case 'stop':
          return `The run is ${(await client.stop(run)).state}.`;
        case 'checkpoint':
          return `A checkpoint is left after the step that follows ${(await client.checkpoint(run)).position?.step ?? 0}.`;
        case 'unfreeze':
          await client.unfreeze(run);
          return 'Everything learns from the next step on.';
        case 'set-rate':
          await client.setRate(run, command.group, command.learningRate);
          return `The learning rate of ${command.group} is ${command.learningRate} from the next step on.`;
        default:
          return command satisfies never;
      }
    },
    settings: async (run) => {
      const { groups, unfrozen, waiting } = (await clientOf().get(run)).settings!;
      return { groups: groups.map(({ name, learningRate }) => ({ name, learningRate: learningRate ?? null })), unfrozen, waiting };
    },
  };
}

/** The control of a run that this process starts itself, and only later. */
export class OwnRunControl implements Disposable {
  #client: RunClient | null = null;
  readonly control = controlOf(() => {
    if (!this.#client) throw new Error('No run is under way here yet.');
    return this.#client;
  });

  async reach(address: string, token: string | null): Promise<void> {
    this[Symbol.dispose]();
    this.#client = await openRunClient(address, { token, tls: null });
  }

  [Symbol.dispose](): void {
    this.#client?.[Symbol.dispose]();
    this.#client = null;
  }
}
