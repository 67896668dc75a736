import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, type ReactNode, useState } from 'react';
import { type LiveSettings, type RunCommand, liveSettingsSchema } from '../../contract.js';
import { ask, command } from '../api.js';
import { formatValue } from '../format.js';
import { useSession } from '../hooks.js';
import { Failed, Loading, Panel } from './panel.js';

/** How often the coordinator is asked what may be changed. */
const ASK_MS = 2_000;

/** Gives a command to the run; what came of it is a sentence. */
function useCommand(run: string): { said: string; give: (given: RunCommand) => Promise<void> } {
  const { csrfToken } = useSession();
  const client = useQueryClient();
  const [said, setSaid] = useState('');
  const give = async (given: RunCommand) => {
    setSaid(await command(run, given, csrfToken).catch((error: unknown) => (error as Error).message));
    await client.invalidateQueries({ queryKey: ['settings', run] });
  };
  return { said, give };
}

/** Stop, and a checkpoint now: nothing where the caller may not, or no coordinator is connected. */
export function Commands({ run }: { run: string }): ReactNode {
  const { commands } = useSession();
  const { said, give } = useCommand(run);
  if (!commands.includes('stop')) return null;
  const stop = () => confirm('Stop the run after this step? It leaves a checkpoint and can be gone on with.') && void give({ name: 'stop' });
  return (
    <span className="actions">
      <button type="button" onClick={() => void stop()}>Stop</button>
      <button type="button" onClick={() => void give({ name: 'checkpoint' })}>Checkpoint now</button>
      <span role="status">{said}</span>
    </span>
  );
}

/** What may be changed of the run while it trains. Each change is written to its record and marked on the curves. */
export function LiveSettingsPanel({ run }: { run: string }): ReactNode {
  const { commands } = useSession();
  const { said, give } = useCommand(run);
  const able = commands.includes('set-rate');
  const { data, error } = useQuery({ queryKey: ['settings', run], queryFn: ({ signal }) => ask(`runs/${encodeURIComponent(run)}/settings`, liveSettingsSchema, {}, signal), enabled: able, refetchInterval: ASK_MS });
  if (!able) return null;
  return (
    <Panel title="Settings of the live run" size="wide" hint="All workers take a change after the same step. It is written to the run's record, and marked on the curves." status={data && data.waiting > 0 ? `${data.waiting} ${data.waiting === 1 ? 'change waits' : 'changes wait'} for the next step` : undefined}>
      {error ? <Failed error={error} /> : !data ? <Loading /> : (
        <div className="settings">
          {data.groups.map((group) => <Rate key={group.name} group={group} give={give} />)}
          <Unfreeze unfrozen={data.unfrozen} give={give} />
        </div>
      )}
      <p role="status">{said}</p>
    </Panel>
  );
}

type Give = (given: RunCommand) => Promise<void>;

function Rate({ group: { name, learningRate }, give }: { group: LiveSettings['groups'][number]; give: Give }): ReactNode {
  const [text, setText] = useState('');
  const now = learningRate === null ? 'does not learn now' : `now ${formatValue(learningRate, 'learning-rate')}`;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const value = Number(text);
    if (!confirm(`Set the learning rate of ${name} to ${value}? (${now})`)) return;
    setText('');
    void give({ name: 'set-rate', group: name, learningRate: value });
  };
  return (
    <form onSubmit={submit}>
      <label>Learning rate of {name} <small>{now}</small>
        <input type="text" inputMode="decimal" autoComplete="off" placeholder={learningRate === null ? '0.001' : String(learningRate)} required pattern="\s*(\d+\.?\d*|\.\d+)([eE][+\-]?\d+)?\s*" title="A number above 0, as 0.0005 or 5e-4" value={text} onChange={({ target }) => setText(target.value)} />
      </label>
      <button type="submit" aria-label={`Set the learning rate of ${name}`}>Set</button>
    </form>
  );
}

function Unfreeze({ unfrozen, give }: { unfrozen: boolean; give: Give }): ReactNode {
  if (unfrozen) return <p className="hint">Everything learns.</p>;
  const unfreeze = () => confirm('Let everything learn from the next step on? A live run can not be frozen again.') && void give({ name: 'unfreeze' });
  return <p><button type="button" onClick={() => void unfreeze()}>Unfreeze the body</button></p>;
}
