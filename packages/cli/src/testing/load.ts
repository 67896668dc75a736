import autocannon from 'autocannon';

/** Asks without a pause, or so many times a second, until `stop` is called; then every answer is counted. */
export function clients(url: string, picture: Buffer, { perSecond }: { perSecond?: number } = {}): { stop: () => Promise<autocannon.Result>; answered: () => number } {
  let answered = 0, cannon: autocannon.Instance;
  const done = new Promise<autocannon.Result>((resolve, reject) => {
    cannon = autocannon({ url: `${url}/v1/classify`, method: 'POST', headers: { 'content-type': 'image/jpeg' }, body: picture, connections: 6, duration: 120, timeout: 30, ...(perSecond === undefined ? {} : { overallRate: perSecond }) }, (error, result) => (error ? reject(error as Error) : resolve(result)));
    cannon.on('response', () => answered++);
  });
  return {
    answered: () => answered,
    stop: () => {
      cannon.stop();
      return done;
    },
  };
}

/** Changes what a server serves. @throws when it refuses */
export const put = async (url: string, body: object): Promise<void> => {
  const response = await fetch(url, { method: url.endsWith('/versions') ? 'POST' : 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
};
