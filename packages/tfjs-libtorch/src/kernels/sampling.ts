import { type TensorInfo, backend_util } from '@tensorflow/tfjs-core';
import { FLOAT32, type Handle, addon } from '../addon.js';
import { type KernelScope, defineKernel, scalarType } from '../kernel.js';

type Method = 'nearest' | 'bilinear';
type Shape4D = [batch: number, height: number, width: number, channels: number];

/** For each pixel of a result, in row-major order: where in which picture it is read. A place beyond a picture's edge has the fill's colour. */
interface Places { batch: Int32Array; y: Float64Array; x: Float64Array }

const OUTSIDE = -9;

/** Pixels of pictures [batch, height, width, channels] at places between them, [places, channels]. `fill`: a value for each channel. */
function sample(scope: KernelScope, image: TensorInfo, { batch, y, x }: Places, method: Method, fill: Float32Array): Handle {
  const [, height, width, channels] = image.shape as Shape4D;
  const whole = method === 'nearest', type = whole ? scalarType(image.dtype) : FLOAT32;
  const rows = scope.aten('aten::reshape', scope.aten('aten::to.dtype', scope.handle(image), type), [-1, channels]);
  const background = scope.aten('aten::to.dtype', scope.data(fill, [1, channels]), type);
  const read = (row: (i: number) => number, column: (i: number) => number): Handle => {
    const inside = new Uint8Array(y.length), index = new Int32Array(y.length);
    for (let i = 0; i < y.length; i++) {
      const r = row(i), c = column(i);
      if (r < 0 || r >= height || c < 0 || c >= width) continue;
      inside[i] = 1;
      index[i] = (batch[i]! * height + r) * width + c;
    }
    return scope.aten('aten::where.self', scope.data(inside, [y.length, 1]), scope.aten('aten::index_select', rows, 0, scope.data(index)), background);
  };
  if (whole) return read((i) => Math.round(y[i]!), (i) => Math.round(x[i]!));
  const low = (place: number) => Math.floor(place);
  const mix = (a: Handle, b: Handle, places: Float64Array) => scope.aten('aten::lerp.Tensor', a, b, scope.data(Float32Array.from(places, (p) => p - low(p)), [places.length, 1]));
  const line = (down: 0 | 1) => mix(read((i) => low(y[i]!) + down, (i) => low(x[i]!)), read((i) => low(y[i]!) + down, (i) => low(x[i]!) + 1), x);
  return mix(line(0), line(1), y);
}

/** A place for each pixel of `count` pictures of a size, by a function that gives it as [y, x]. */
function placesOf(count: number, [height, width]: [number, number], batchOf: (picture: number) => number, at: (picture: number, row: number, column: number) => [y: number, x: number]): Places {
  const total = count * height * width, places = { batch: new Int32Array(total), y: new Float64Array(total), x: new Float64Array(total) };
  let i = 0;
  for (let picture = 0; picture < count; picture++) {
    const from = batchOf(picture);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++, i++) {
        places.batch[i] = from;
        [places.y[i], places.x[i]] = at(picture, row, column);
      }
    }
  }
  return places;
}

/** Where a coordinate beyond an edge is read, as TensorFlow's image operators do it: reflect [abcd] to [dcba|abcd|dcba], wrap to [abcd|abcd|abcd]. */
function foldedBack(place: number, length: number, mode: string): number {
  const clamped = (p: number) => Math.min(Math.max(p, 0), length - 1);
  switch (mode) {
    case 'nearest':
      return clamped(place);
    case 'reflect': {
      if (length <= 1) return 0;
      const period = 2 * length;
      if (place < 0) {
        const near = period * Math.trunc(-place / period) + place;
        return clamped(near < -length ? near + period : -near - 1);
      }
      const near = place - period * Math.trunc(place / period);
      return clamped(near >= length ? period - near - 1 : near);
    }
    case 'wrap':
      if (length <= 1) return 0;
      return clamped(place < 0 ? place + length * (Math.trunc(-place / (length - 1)) + 1) : place > length - 1 ? place - length * Math.trunc(place / (length - 1)) : place);
    default:
      return place;
  }
}

interface CropAttrs { cropSize: [number, number]; method: Method; extrapolationValue: number }
interface TransformAttrs { interpolation: Method; fillMode: string; fillValue: number; outputShape?: [number, number] }

/** Parts of pictures, cut out, turned and bent. The geometry is the host's, as float64; the pixels stay where they are. */
export function registerSampling(): void {
  const uniform = (channels: number, value: number) => new Float32Array(channels).fill(value);

  defineKernel<CropAttrs>('CropAndResize', (scope, { image, boxes, boxInd }, { cropSize, method, extrapolationValue }) => {
    const [batch, height, width, channels] = image!.shape as Shape4D, count = boxes!.shape[0]!;
    const box = addon().read(scope.handle(boxes!)), pictures = addon().read(scope.handle(boxInd!));
    const wrong = pictures.findIndex((p) => p < 0 || p >= batch);
    if (wrong >= 0) throw new Error(`box ${wrong} is cut from picture ${pictures[wrong]} of ${batch}`);
    const along = (near: number, far: number, length: number, size: number, i: number) => {
      const place = size > 1 ? near * (length - 1) + (i * (far - near) * (length - 1)) / (size - 1) : 0.5 * (near + far) * (length - 1);
      return place < 0 || place > length - 1 ? OUTSIDE : place;
    };
    const places = placesOf(count, cropSize, (b) => pictures[b]!, (b, row, column) => [
      along(box[4 * b]!, box[4 * b + 2]!, height, cropSize[0], row), along(box[4 * b + 1]!, box[4 * b + 3]!, width, cropSize[1], column),
    ]);
    const y = sample(scope, image!, places, method, uniform(channels, extrapolationValue));
    return scope.output(scope.aten('aten::to.dtype', scope.aten('aten::reshape', y, [count, ...cropSize, channels]), FLOAT32));
  });

  defineKernel<TransformAttrs>('Transform', (scope, { image, transforms }, { interpolation, fillMode, fillValue, outputShape }) => {
    const [batch, height, width, channels] = image!.shape as Shape4D, size = outputShape ?? [height, width];
    const matrix = addon().read(scope.handle(transforms!)), shared = transforms!.shape[0] === 1;
    const places = placesOf(batch, size, (b) => b, (b, row, column) => {
      const t = (k: number) => matrix[(shared ? 0 : 8 * b) + k]!;
      const projection = t(6) * column + t(7) * row + 1;
      if (projection === 0) return [OUTSIDE, OUTSIDE];
      const to = (k: number) => (t(k) * column + t(k + 1) * row + t(k + 2)) / projection;
      return [foldedBack(to(3), height, fillMode), foldedBack(to(0), width, fillMode)];
    });
    const y = sample(scope, image!, places, interpolation, uniform(channels, fillValue));
    return scope.output(scope.aten('aten::reshape', scope.aten('aten::to.dtype', y, scalarType(image!.dtype)), [batch, ...size, channels]), image!.dtype);
  });

  defineKernel<{ radians: number; fillValue: number | [number, number, number]; center: number | [number, number] }>('RotateWithOffset', (scope, { image }, { radians, fillValue, center }) => {
    const [batch, height, width, channels] = image!.shape as Shape4D;
    const [centerX, centerY] = backend_util.getImageCenter(center, height, width), sine = Math.sin(radians), cosine = Math.cos(radians);
    const places = placesOf(batch, [height, width], (b) => b, (_b, row, column) => {
      const x = column - centerX, y = row - centerY;
      return [x * sine + y * cosine + centerY, x * cosine - y * sine + centerX];
    });
    // What is new is opaque.
    const fill = typeof fillValue === 'number' ? uniform(channels, fillValue) : Float32Array.from({ length: channels }, (_, c) => (c === 3 ? 255 : fillValue[c]!));
    return scope.output(scope.aten('aten::reshape', sample(scope, image!, places, 'nearest', fill), image!.shape), image!.dtype);
  });
}
