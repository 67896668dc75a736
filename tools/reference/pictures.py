"""torchvision's crops, resizes and colour changes of pictures, for the parity tests of the data package.

usage: /usr/bin/python3 pictures.py < REQUEST > ANSWER
REQUEST is JSON: `folder` for the answers' bytes, `pictures` with raw 8-bit RGB (`file`, `width`, `height`), `size`, `boxes` for
each picture (left, top, width, height), and `changes` (name of torchvision's adjust_* function, factor). ANSWER names, for
each picture in turn, raw 8-bit RGB files: `crops` (resized_crop to size x size, one a box), `validation`
(Resize(round(size * 256 / 224)), CenterCrop(size)), and `changed` (each change of the validation picture).
"""
import json
import sys
from pathlib import Path

from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional


def main() -> None:
    request = json.load(sys.stdin)
    size, folder, answers, count = request['size'], Path(request['folder']), [], 0

    def keep(image: Image.Image) -> str:
        nonlocal count
        path = folder / f'answer-{count}.rgb'
        count += 1
        path.write_bytes(image.tobytes())
        return str(path)

    resize = transforms.Compose([transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)])
    for picture in request['pictures']:
        image = Image.frombytes('RGB', (picture['width'], picture['height']), Path(picture['file']).read_bytes())
        crops = [functional.resized_crop(image, box['top'], box['left'], box['height'], box['width'], [size, size]) for box in picture['boxes']]
        valid = resize(image)
        changed = [getattr(functional, name)(valid, factor) for name, factor in request['changes']]
        answers.append({'crops': [keep(crop) for crop in crops], 'validation': keep(valid), 'changed': [keep(image) for image in changed]})
    json.dump(answers, sys.stdout)


if __name__ == '__main__':
    main()
