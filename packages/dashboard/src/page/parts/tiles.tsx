import type { ReactNode } from 'react';

/** Figures in a row, each with what it is. A figure that isn't known is a dash. */
export function Tiles({ tiles }: { tiles: readonly { name: string; value: string | null; note?: string }[] }): ReactNode {
  return (
    <dl className="tiles">
      {tiles.map(({ name, value, note }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value ?? '–'}{note === undefined ? null : <small>{note}</small>}</dd>
        </div>
      ))}
    </dl>
  );
}
