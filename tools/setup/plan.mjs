import { ESSENTIAL, missingPackages } from './apt.mjs';
import { chooseEngine } from './engine.mjs';

/**
 * @typedef {{ do: 'install', packages: string[] }
 *   | { do: 'pip' }
 *   | { do: 'addon', libtorch: import('./engine.mjs').Libtorch, reasons: string[] }
 *   | { do: 'wasm', missing: string[], reasons: string[] }} Step
 *   `reasons`: why not something better; `missing`: the packages that a person with the right to would install
 */

/**
 * What to do next for the engine, out of what the machine has and what has been tried. Asked again after each step, it comes to an end:
 * an installation that failed makes `canInstall` false, an addon that failed puts its libtorch into `failed`.
 * @param {{
 *   machine: import('./machine.mjs').Machine, failed: Record<string, string>, unavailable: string[],
 *   engine: 'auto' | 'debian' | 'pip' | 'wasm', reference: boolean, canInstall: boolean
 * }} facts
 * @returns {Step}
 */
export function nextStep({ machine, failed, unavailable, engine, reference, canInstall }) {
  const { platform, probes, installed, compiler } = machine;
  const essentialsKnown = !unavailable.some((name) => ESSENTIAL.includes(name));
  const choice = chooseEngine({ platform, probes, canInstall: canInstall && essentialsKnown, failed }, engine);
  const debianLibtorch = choice.engine === 'debian' || (choice.engine === 'libtorch' && choice.libtorch.kind === 'debian');
  const wanted = { installed, compiler: compiler !== null, debianLibtorch, addon: choice.engine !== 'wasm', reference, unavailable };
  const packages = missingPackages(wanted);
  if (canInstall && packages.length > 0) return { do: 'install', packages };
  if (choice.engine === 'pip' && compiler) return { do: 'pip' };
  if (choice.engine === 'libtorch' && compiler) return { do: 'addon', libtorch: choice.libtorch, reasons: choice.reasons };
  const missing = engine === 'wasm' ? [] : missingPackages({ ...wanted, debianLibtorch: choice.engine !== 'libtorch' && engine !== 'pip', addon: true, reference: false, unavailable: [] });
  return { do: 'wasm', missing, reasons: choice.engine === 'libtorch' || choice.engine === 'pip' ? [...choice.reasons, 'there is no C++ compiler'] : choice.reasons };
}

/** The packages that tests compare with and that are not there: PyTorch of Debian's, a browser, and Prometheus. */
export function missingReference(machine) {
  return missingPackages({ installed: machine.installed, compiler: true, debianLibtorch: false, addon: false, reference: true, unavailable: [] });
}
