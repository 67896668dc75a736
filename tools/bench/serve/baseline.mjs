import express from 'express';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import sharp from 'sharp';

/** What somebody writes in an afternoon: one route, sharp, ONNX Runtime. `node baseline.mjs MODEL.onnx SIZE` */

const [path, size] = [process.argv[2], Number(process.argv[3])];
const MEAN = [0.485, 0.456, 0.406], STD = [0.229, 0.224, 0.225];
const session = await InferenceSession.create(path);
const app = express();

app.post('/v1/classify', express.raw({ type: () => true, limit: '32mb' }), async (request, response) => {
  const resized = Math.round((size * 256) / 224);
  const { data } = await sharp(request.body).resize(resized, resized, { fit: 'outside' }).extract({ left: (resized - size) >> 1, top: (resized - size) >> 1, width: size, height: size }).removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  const pixels = new Float32Array(3 * size * size);
  for (let p = 0; p < size * size; p++) for (let c = 0; c < 3; c++) pixels[c * size * size + p] = (data[3 * p + c] / 255 - MEAN[c]) / STD[c];
  const { probabilities } = await session.run({ pictures: new Tensor('float32', pixels, [1, 3, size, size]) });
  response.json({ probabilities: [...probabilities.data] });
});

const server = app.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
// Clients keep their connections while the other server is measured.
server.keepAliveTimeout = 120_000;
process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
