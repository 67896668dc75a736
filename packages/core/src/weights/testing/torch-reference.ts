import { execFileSync, spawnSync } from 'node:child_process';

const PYTHON = '/usr/bin/python3';

/** Whether this machine has PyTorch to compare with. */
export const hasTorch = spawnSync(PYTHON, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0;

export interface TensorRow { dtype: string; shape: number[]; sha256: string }

export interface Reference {
  /** Per file, per tensor: what PyTorch itself reads in it. */
  files: Record<string, Record<string, TensorRow>>;
  /** Whether PyTorch, asked to open the hostile files, did what they want. */
  hostileAreLive: boolean;
}

/** Lets PyTorch write files of every kind into `folder`, and say what is in them and in `others`. */
export function writeTorchFiles(folder: string, others: readonly string[]): Reference {
  return JSON.parse(execFileSync(PYTHON, ['-c', SCRIPT, folder, ...others], { encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'ignore'] })) as Reference;
}

const SCRIPT = `
import collections, hashlib, json, os, sys, torch
folder, others = sys.argv[1], sys.argv[2:]
names = {torch.float64: 'F64', torch.float32: 'F32', torch.float16: 'F16', torch.bfloat16: 'BF16', torch.int64: 'I64',
         torch.int32: 'I32', torch.int16: 'I16', torch.int8: 'I8', torch.uint8: 'U8', torch.bool: 'BOOL'}
files = {}

def row(t):
    t = t.detach().contiguous()
    raw = (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy().tobytes()
    return dict(dtype=names[t.dtype], shape=list(t.shape), sha256=hashlib.sha256(raw).hexdigest())

def rows(state):
    return {key: row(value) for key, value in state.items() if torch.is_tensor(value)}

def save(name, value, state=None, **options):
    for kind, zipped in (('zip', True), ('legacy', False)):
        path = f'{kind}-{name}.pth'
        torch.save(value, os.path.join(folder, path), _use_new_zipfile_serialization=zipped, **options)
        files[path] = rows(value if state is None else state)

torch.manual_seed(0)
dtypes = {name: (torch.randn(2, 3) * 50).to(dtype) for dtype, name in names.items()}
save('dtypes', {**dtypes, 'scalar': torch.tensor(7), 'empty': torch.zeros(0, 3)})
base = torch.arange(240, dtype=torch.float32).reshape(4, 3, 5, 4)
views = dict(transposed=base.permute(2, 0, 3, 1), slice=base[1:3, 1], strided=base[::2, :, 1::2], one=base[:, 1:2, 2:3],
             last=base.contiguous(memory_format=torch.channels_last), spread=torch.tensor([1.5]).expand(3, 4), half=base.half()[:, :, ::3])
save('views', views)
save('shared', dict(whole=base, part=base[2], same=base, other=torch.ones(3)))
save('parameter', collections.OrderedDict(weight=torch.nn.Parameter(base.clone()), bias=torch.nn.Parameter(torch.ones(3), requires_grad=False)))
linear = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
save('nested', dict(epoch=3, best_prec1=torch.tensor(91.5), arch='resnet', note=None, size=torch.Size([2, 3]), big=1 << 70, negative=-5, state_dict=linear), linear)
save('model', dict(model=linear, optimizer=dict(state={0: dict(step=1, momentum=torch.ones(3))}, param_groups=[dict(lr=0.1, betas=(0.9, 0.999), params=[0, 1])])), linear)
save('protocol4', dict(state_dict=linear, long='x' * 300), linear, pickle_protocol=4)

class Hostile:
    def __reduce__(self):
        return (os.system, ('touch ' + os.path.join(folder, 'marker'),))

live = True
for kind, zipped in (('zip', True), ('legacy', False)):
    path = os.path.join(folder, f'{kind}-hostile.pth')
    torch.save(dict(state_dict=linear, extra=Hostile()), path, _use_new_zipfile_serialization=zipped)
    torch.load(path)
    live = live and os.path.exists(os.path.join(folder, 'marker'))
    os.remove(os.path.join(folder, 'marker'))
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), os.path.join(folder, 'script.pt'))

for path in others:
    state = torch.load(path, map_location='cpu')
    files[path] = rows(state['state_dict'])
print(json.dumps(dict(files=files, hostileAreLive=live)))
`;
