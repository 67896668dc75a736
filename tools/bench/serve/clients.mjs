import { Agent, request } from 'node:http';

/** A connection that nobody has used for so long is closed from here: uvicorn closes it after 5 s, at times while the next request is on its way. */
const IDLE_MS = 2_000;
const agent = new Agent({ keepAlive: true, maxSockets: Infinity, timeout: IDLE_MS });

/** A picture as a form with one file. */
export function asForm(picture) {
  const boundary = 'chameleon-bench-5d41402abc4b2a76';
  return { contentType: `multipart/form-data; boundary=${boundary}`, body: Buffer.concat([Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="image"; filename="picture.jpg"\r\nContent-Type: image/jpeg\r\n\r\n`), picture, Buffer.from(`\r\n--${boundary}--\r\n`)]) };
}

/** Sends a picture: its bytes, or the form that `asForm` makes of it. @returns {Promise<{ status: number, ms: number, body: any }>} ms from request to the answer's last byte */
export function sendOne(url, picture) {
  return new Promise((resolve, reject) => {
    const { body: bytes, contentType } = Buffer.isBuffer(picture) ? { body: picture, contentType: 'image/jpeg' } : picture;
    const startMs = performance.now();
    const sent = request(`${url}/v1/classify`, { method: 'POST', agent, headers: { 'Content-Type': contentType, 'Content-Length': bytes.length } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => resolve({ status: response.statusCode, ms: performance.now() - startMs, body: response.statusCode === 200 ? JSON.parse(text) : text })).on('error', reject);
    });
    sent.on('error', reject);
    sent.end(bytes);
  });
}

/** Clients that each send the next picture when the last is answered, for a time or a number of requests. Throws when one is not answered with 200. */
export async function closedLoop(url, pictures, { clients, seconds = Infinity, requests = Infinity }) {
  const startMs = performance.now(), endMs = startMs + 1000 * seconds;
  let sent = 0, answered = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (sent < requests && performance.now() < endMs) {
      const { status, body } = await sendOne(url, pictures[sent++ % pictures.length]);
      if (status !== 200) throw new Error(`${url} answered ${status}: ${body}`);
      answered++;
    }
  }));
  return { answered, perSecond: (1000 * answered) / (performance.now() - startMs) };
}

/** Sends at a fixed rate, whether or not answers come. What gets no answer counts as status 0; the pace is of the answers while it sends, but for the first quarter, in which the queue fills. */
export async function openLoop(url, pictures, { perSecond, seconds }) {
  const statuses = {}, acceptedMs = [], under = [];
  const startMs = performance.now(), fullMs = startMs + 250 * seconds, endMs = startMs + 1000 * seconds;
  let paced = 0;
  for (let sent = 0; sent < perSecond * seconds; ) {
    const due = Math.min(perSecond * seconds, ((performance.now() - startMs) / 1000) * perSecond);
    for (; sent < due; sent++) {
      under.push(sendOne(url, pictures[sent % pictures.length]).catch(() => ({ status: 0, ms: 0 })).then(({ status, ms }) => {
        statuses[status] = (statuses[status] ?? 0) + 1;
        if (status !== 200) return;
        acceptedMs.push(ms);
        const nowMs = performance.now();
        if (nowMs > fullMs && nowMs <= endMs) paced++;
      }));
    }
    // Until the next is due: who wakes more often takes the processors from the server that is measured.
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, startMs + (1000 * (sent + 1)) / perSecond - performance.now())));
  }
  await Promise.all(under);
  return { statuses, acceptedMs, acceptedPerSecond: (1000 * paced) / (endMs - fullMs) };
}
