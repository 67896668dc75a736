/** An answer's body as text. @throws when it is longer than `maxBytes` */
export async function readLimited(answer: Response, maxBytes: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of answer.body ?? []) {
    total += (part as Uint8Array).byteLength;
    if (total > maxBytes) throw new Error(`the answer is longer than ${Math.round(maxBytes / 2 ** 20)} MiB`);
    parts.push(part as Uint8Array);
  }
  return Buffer.concat(parts).toString('utf8');
}
