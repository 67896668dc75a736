import { execFileSync } from 'node:child_process';

const PYTHON = '/usr/bin/python3';

/** Whether Debian's python3-torchvision, the reference, is installed: `npm test` installs it where it may. */
export const hasTorchvision = (() => {
  try {
    execFileSync(PYTHON, ['-c', 'import torchvision'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** Reads a safetensors file without its library. */
const READ_SAFETENSORS = `
import json, sys, numpy, torch, torchvision
def read_safetensors(path):
    data = open(path, 'rb').read()
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:8 + length])
    metadata = header.pop('__metadata__', {})
    types = {'F32': numpy.float32, 'F16': numpy.float16, 'I64': numpy.int64}
    def tensor(entry):
        start, end = entry['data_offsets']
        values = torch.from_numpy(numpy.frombuffer(data[8 + length + start:8 + length + end], types[entry['dtype']]).reshape(entry['shape']).copy())
        return values.float() if entry['dtype'] == 'F16' else values
    return {name: tensor(entry) for name, entry in header.items()}, metadata
`;

/** Runs a script that reads JSON from `given` and leaves its answer in `answer`; `read_safetensors(path)` gives (state, metadata). */
export function torchvision<T>(script: string, given: unknown): T {
  const program = `${READ_SAFETENSORS}\ngiven = json.load(sys.stdin)\n${script}\njson.dump(answer, sys.stdout)\n`;
  return JSON.parse(execFileSync(PYTHON, ['-c', program], { input: JSON.stringify(given), encoding: 'utf8', maxBuffer: 1 << 28 })) as T;
}
