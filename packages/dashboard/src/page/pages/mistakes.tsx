import { useQuery } from '@tanstack/react-query';
import { Fragment, type ReactNode, useState } from 'react';
import { type Mistakes as Found, mistakesSchema } from '../../contract.js';
import { ask } from '../api.js';
import { formatValue } from '../format.js';
import { useSession } from '../hooks.js';
import { Empty, Failed, Loading, Panel } from '../parts/panel.js';
import { RunPicker, useChosenRun } from '../parts/run-picker.js';

/** More classes than this make no table that a person reads: then the pairs alone. */
const MATRIX_LIMIT = 30;

export function Mistakes(): ReactNode {
  const run = useChosenRun();
  const { hasRuns } = useSession();
  const { data, error } = useQuery({ queryKey: ['run', run, 'mistakes'], enabled: hasRuns && run !== null, refetchInterval: 15_000, retry: false, queryFn: ({ signal }) => ask(`runs/${encodeURIComponent(run!)}/mistakes`, mistakesSchema, {}, signal) });
  if (!hasRuns) return <Panel title="Mistakes" size="wide"><Empty>No run directories are watched: start the dashboard with --runs FOLDER.</Empty></Panel>;
  if (run === null) return <Panel title="Mistakes" size="wide"><Empty>No run has been started here yet.</Empty></Panel>;
  return (
    <>
      <RunPicker run={run} />
      {error ? <Panel title="Confusion" size="wide"><Failed error={error} /></Panel> : !data ? <Panel title="Confusion" size="wide"><Loading /></Panel> : data.judgedCount === 0 ? <Panel title="Confusion" size="wide"><Empty>This run has judged no validation pictures yet: it does at the end of each epoch.</Empty></Panel> : (
        <>
          <Panel title="Confusion" size="wide" status={`${(data.judgedCount - data.wrongCount).toLocaleString('en-US')} of ${data.judgedCount.toLocaleString('en-US')} told right`}>{data.classes.length <= MATRIX_LIMIT ? <Matrix data={data} /> : <Pairs data={data} />}</Panel>
          <Panel title="The most confident mistakes" size="wide" hint="A wrong label in the data shows up here too.">{data.mistakes.length === 0 ? <Empty>There are none: every picture was told right.</Empty> : <ul className="mistakes">{data.mistakes.map((mistake) => <Card key={mistake.index} run={run} data={data} mistake={mistake} />)}</ul>}</Panel>
        </>
      )}
    </>
  );
}

const className = (data: Found, index: number): string => data.classes[index] ?? `class ${index}`;

function Matrix({ data }: { data: Found }): ReactNode {
  const counts = new Map(data.cells.map(([label, told, count]) => [`${label} ${told}`, count]));
  const totals = data.classes.map((_, label) => data.cells.filter((cell) => cell[0] === label).reduce((sum, cell) => sum + cell[2], 0));
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label="Table: Confusion matrix">
      <table className="confusion">
        <thead><tr><th scope="col">in truth, and told to be</th>{data.classes.map((name) => <th key={name} scope="col">{name}</th>)}</tr></thead>
        <tbody>
          {data.classes.map((name, label) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {data.classes.map((other, told) => {
                const count = counts.get(`${label} ${told}`) ?? 0;
                const share = totals[label]! === 0 ? 0 : count / totals[label]!;
                return <td key={other} className={count === 0 ? 'none' : label === told ? 'right' : 'wrong'} style={{ '--part': `${Math.round(10 + share * 60)}%` } as object}>{count}{count === 0 ? null : <small>{formatValue(share, 'ratio')}</small>}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Pairs({ data }: { data: Found }): ReactNode {
  const pairs = data.cells.filter(([label, told]) => label !== told).sort((a, b) => b[2] - a[2]).slice(0, 40);
  return <ol className="plain">{pairs.map(([label, told, count]) => <li key={`${label} ${told}`}><b>{count}</b> {className(data, label)} told to be {className(data, told)}</li>)}</ol>;
}

function Card({ run, data, mistake: { index, path, label, told, probability, hasPicture } }: { run: string; data: Found; mistake: Found['mistakes'][number] }): ReactNode {
  const [heat, setHeat] = useState(false);
  const [failed, setFailed] = useState(false);
  const [truth, said] = [className(data, label), className(data, told)];
  const address = `/api/runs/${encodeURIComponent(run)}`;
  return (
    <li>
      <figure>
        <div className="stack">
          {hasPicture ? <img src={`${address}/pictures/${index}`} alt={`${truth}, told to be ${said}`} loading="lazy" /> : <div className="gone">The picture is no longer there.</div>}
          {heat && !failed ? <img className="heat" src={`${address}/heat-maps/${index}`} alt={`Where the model looked for ${said}`} onError={() => setFailed(true)} /> : null}
        </div>
        <figcaption>
          <b>{said}</b>, {formatValue(probability, 'ratio')} sure<br />in truth {truth}<small>{breakable(path)}</small>
          {data.heatMaps && hasPicture ? <button type="button" aria-pressed={heat} onClick={() => (setHeat(!heat), setFailed(false))}>Where it looked</button> : null}
          {failed ? <small role="status">The server gave no heat map.</small> : null}
        </figcaption>
      </figure>
    </li>
  );
}

/** A path that may be broken behind its folders, rather than inside a name. */
function breakable(path: string): ReactNode {
  return path.split(/(?<=\/)/).map((part, i) => <Fragment key={i}>{i > 0 && <wbr />}{part}</Fragment>);
}
