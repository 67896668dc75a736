"""LitServe with PyTorch as its documentation writes it: python litserve_server.py MODEL.safetensors SIZE PORT PRECISION"""
import io
import sys
from pathlib import Path

import litserve
import torch
import torchvision
from PIL import Image
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / 'reference'))
from safetensors_io import read_safetensors  # noqa: E402

WEIGHTS, SIZE, PORT, PRECISION = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


class Classifier(litserve.LitAPI):
    def setup(self, device):
        state = read_safetensors(WEIGHTS)
        self.model = torchvision.models.resnet34(num_classes=state['fc.bias'].shape[0])
        self.model.load_state_dict(state)
        self.model = self.model.eval().to(memory_format=torch.channels_last)
        self.prepare = transforms.Compose([transforms.Resize(round(SIZE * 256 / 224)), transforms.CenterCrop(SIZE), transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])

    def decode_request(self, request):
        return self.prepare(Image.open(io.BytesIO(request['image'].file.read())).convert('RGB'))

    def batch(self, inputs):
        return torch.stack(inputs).contiguous(memory_format=torch.channels_last)

    def predict(self, pictures):
        with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16, enabled=PRECISION == 'bfloat16'):
            return torch.softmax(self.model(pictures).float(), 1)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        probabilities, classes = output.topk(5)
        return {'classes': [{'label': f'class-{i}', 'probability': p} for i, p in zip(classes.tolist(), probabilities.tolist())]}


if __name__ == '__main__':
    api = Classifier(max_batch_size=16, batch_timeout=0.005, api_path='/v1/classify')
    litserve.LitServer(api, accelerator='cpu').run(host='127.0.0.1', port=PORT, generate_client_file=False, log_level='warning')
