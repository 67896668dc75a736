import { join } from 'node:path';
import { FILES, readRunRecord, renderRunReport, writeWhole } from '@chameleon/trainer';

/** Writes a run's report into its directory; gives its path. */
export async function writeReport(path: string, to = join(path, FILES.report)): Promise<string> {
  await writeWhole(to, await renderRunReport(await readRunRecord(path)));
  return to;
}
