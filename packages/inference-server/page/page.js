// The page to try a model on: a picture from a file, the clipboard, a drop or the camera goes to /v1/explain; the answer is drawn.

const $ = (id) => document.getElementById(id);
const view = { current: null, asked: 0, stream: null };

/** Asks for one picture's classes and heat map; throws an Error whose message a person can read. */
async function ask(picture, label) {
  const query = new URLSearchParams(label === null ? {} : { label });
  const key = $('key').value.trim();
  const response = await fetch(`/v1/explain?${query}`, { method: 'POST', body: picture, headers: { 'Content-Type': 'application/octet-stream', ...(key ? { Authorization: `Bearer ${key}` } : {}) } }).catch(() => {
    throw new Error('The server does not answer. Is it still running?');
  });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(body?.detail ?? `The server refused the picture (${response.status}).`);
  return body;
}

/** Shows a picture's answer, or why there is none. Only the newest question's answer is drawn. */
async function classify(picture, label = null) {
  const turn = ++view.asked;
  $('status').textContent = 'The model looks …';
  $('error').hidden = true;
  try {
    const answer = await ask(picture, label);
    if (turn !== view.asked) return;
    draw(picture, answer, label);
    $('status').textContent = `${answer.predictions[0].classes[0].label}: ${percent(answer.predictions[0].classes[0].probability)}`;
  } catch (error) {
    if (turn !== view.asked) return;
    $('status').textContent = '';
    $('error').textContent = error.message;
    $('error').hidden = false;
    if (label === null) $('result').hidden = true;
  }
}

function draw(picture, { model, predictions: [prediction], timings_ms: timings }, label) {
  if (picture !== view.current) {
    if ($('picture').src) URL.revokeObjectURL($('picture').src);
    $('picture').src = URL.createObjectURL(picture);
    view.current = picture;
  }
  $('classes').replaceChildren(...prediction.classes.map(drawClass));
  drawHeat(prediction);
  if (label === null) $('heat-class').replaceChildren(...prediction.classes.map((entry) => new Option(entry.label, entry.label)));
  $('heat-class').value = prediction.heatmap.label;
  $('facts').textContent = `${model.name}, version ${model.version}; ${Math.round(timings.total)} ms, of which decoding ${Math.round(timings.decode)} and the model ${Math.round(timings.compute)}.`;
  $('result').hidden = false;
}

function drawClass({ label, probability }) {
  const item = document.createElement('li'), line = document.createElement('span'), bar = document.createElement('progress');
  const name = document.createElement('b'), share = document.createElement('span');
  name.textContent = label;
  share.textContent = percent(probability);
  line.append(name, share);
  bar.max = 1;
  bar.value = probability;
  bar.setAttribute('aria-label', `${label}: ${percent(probability)}`);
  item.append(line, bar);
  return item;
}

function drawHeat({ width, height, heatmap: { png_base64: png, region } }) {
  const heat = $('heat');
  heat.src = `data:image/png;base64,${png}`;
  heat.style.left = `${(100 * region.left) / width}%`;
  heat.style.top = `${(100 * region.top) / height}%`;
  heat.style.width = `${(100 * region.width) / width}%`;
  heat.style.height = `${(100 * region.height) / height}%`;
  heat.hidden = !$('show-heat').checked;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

async function openCamera() {
  try {
    view.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
  } catch {
    $('error').textContent = 'The camera can not be used: it was refused, or there is none. Choose a file instead.';
    $('error').hidden = false;
    return;
  }
  $('error').hidden = true;
  $('video').srcObject = view.stream;
  $('viewfinder').hidden = false;
  $('shoot').focus();
}

function closeCamera() {
  view.stream?.getTracks().forEach((track) => track.stop());
  view.stream = null;
  $('viewfinder').hidden = true;
  $('camera').focus();
}

function shoot() {
  const video = $('video'), canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext('2d').drawImage(video, 0, 0);
  closeCamera();
  canvas.toBlob((blob) => blob && classify(blob), 'image/jpeg', 0.92);
}

const firstPicture = (transfer) => [...(transfer?.files ?? [])][0];

$('file').addEventListener('change', () => {
  const [file] = $('file').files;
  if (file) classify(file);
  $('file').value = '';
});
for (const name of ['dragover', 'dragleave', 'drop']) {
  addEventListener(name, (event) => {
    event.preventDefault();
    $('drop').classList.toggle('over', name === 'dragover');
    if (name === 'drop' && firstPicture(event.dataTransfer)) classify(firstPicture(event.dataTransfer));
  });
}
addEventListener('paste', (event) => {
  if (firstPicture(event.clipboardData)) classify(firstPicture(event.clipboardData));
});
addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && view.stream) closeCamera();
});
$('camera').addEventListener('click', openCamera);
$('leave').addEventListener('click', closeCamera);
$('shoot').addEventListener('click', shoot);
$('show-heat').addEventListener('change', () => {
  $('heat').hidden = !$('show-heat').checked;
});
$('heat-class').addEventListener('change', () => classify(view.current, $('heat-class').value));
