import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** The version that the figures belong to. */
const LITSERVE = '0.2.19';

/**
 * A folder of Python packages for the peers, beside set-up's own: LitServe from pip, PyTorch and torchvision Debian's (1.13), which pip
 * would bring with gigabytes of CUDA. @returns {Promise<{ python: string, versions: Record<string, string> }>}
 */
export async function installPeers() {
  const folder = fileURLToPath(new URL('../../../../.setup/peers', import.meta.url)), python = `${folder}/bin/python`;
  const known = await versionsOf(python).catch(() => null);
  if (known?.litserve === LITSERVE) return { python, versions: known };
  try {
    await run('/usr/bin/python3', ['-m', 'venv', '--system-site-packages', folder]);
    await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `litserve==${LITSERVE}`, 'python-multipart'], { timeout: 300_000 });
    return { python, versions: await versionsOf(python) };
  } catch (error) {
    throw new Error(`LitServe can't be installed: ${error.stderr?.trim().split('\n').at(-1) ?? error.message}. It needs python3-venv, python3-torchvision (\`node tools/setup.mjs --with-reference\`) and pip's registry.`, { cause: error });
  }
}

async function versionsOf(python) {
  const { stdout } = await run(python, ['-c', 'import json, sys, litserve, python_multipart, torch, torchvision; print(json.dumps({"litserve": litserve.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__, "python": sys.version.split()[0]}))']);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}
