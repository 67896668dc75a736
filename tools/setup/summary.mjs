/** Reasons against a better engine that are worth a word: not that there is simply nothing at a place. */
const isNotable = (reason) => !/^(LIBTORCH is not set|python3|Debian's libtorch-dev is not installed|wasm was asked for)/.test(reason);

const NICKNAMES = { LIBTORCH: '$LIBTORCH', pip: 'pip', debian: 'Debian' };

/**
 * The last line of a run: "Set-up is complete: libtorch 1.13.0 (Debian), Node 20.20".
 * @param {{ libtorch: import('./engine.mjs').Libtorch | null, reasons: string[], node: string, referenceMissing: boolean }} facts
 *   `node`: its version; `referenceMissing`: what tests compare with was wanted and is not all there
 */
export function completeLine({ libtorch, reasons, node, referenceMissing }) {
  const notable = reasons.filter(isNotable);
  const engine = libtorch ? `libtorch ${libtorch.version} (${NICKNAMES[libtorch.kind]})` : `the wasm backend${reasons.includes('wasm was asked for') ? ', as asked for' : ' (no libtorch)'}`;
  const rest = [...notable, ...(referenceMissing ? ['not all that tests compare with'] : [])];
  return [`Set-up is complete: ${engine}, Node ${node.split('.').slice(0, 2).join('.')}`, ...rest].join('; ');
}
