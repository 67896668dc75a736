const KB = (bytes) => `${Math.round(bytes / 1000)} kB`;
const ms = ({ median, p95 }) => `${Math.round(median)} ms (95 % under ${Math.round(p95)})`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Each part's rows: what, figure, goal. */
const ROWS = {
  bytes: ({ compressedBytes }) => [['JavaScript, compressed', KB(compressedBytes.scripts), 'under 250 kB']],
  paint: ({ ms: { paint, panels } }) => [['first paint, empty cache', ms(paint), 'under 1 s'], ['first panels', ms(panels), '–']],
  range: ({ ms: { answer, draw, whole } }) => [['24 h of 20 series at 5 s: drawn, once answered', ms(draw), 'under 200 ms'], ['– answered by the embedded history, beside the page\'s other panels', ms(answer), '–'], ['– from the click to the picture', ms(whole), '–']],
  zoom: ({ stepsOfEachRun, frameMs, zoomToFinerMs, longestFrameMs }) => [[`20 runs of ${stepsOfEachRun.toLocaleString('en-US')} steps: a frame while hovering`, ms(frameMs.hover), 'fluid'], ['– a frame while zooming', `${ms(frameMs.zoom)}, the longest ${longestFrameMs} ms`, 'fluid'], ['– until all have their finer points', ms(zoomToFinerMs), '–']],
  latency: ({ stepToPointMs, longestMs }) => [['from a step to its point', `${ms(stepToPointMs)}, the longest ${longestMs} ms`, 'under 1 s']],
  scraper: ({ targets, seriesEach, coreShare }) => [[`embedded scraper, ${targets} targets of ${seriesEach} series every 5 s`, `${percent(coreShare.every5s)} of a core; ${percent(coreShare.every5sAndDisk)} with the disk`, 'under 5 %']],
  frozen: ({ stepMs }) => [['a step, unwatched', ms(stepMs.unwatched), '–'], ['– watched each second', ms(stepMs.watched), 'the same'], ['– by a dashboard that is frozen', ms(stepMs.frozen), 'the same']],
  soak: ({ minutes, workers, updatesOfThePage, pageHeapMiB, serverResidentMiB }) => [[`page on ${workers} workers for ${minutes} min, ${updatesOfThePage} updates (of ${((5 * updatesOfThePage) / 3600).toFixed(1)} h at 5 s): its heap`, `${pageHeapMiB.first} MiB, then ${pageHeapMiB.last} MiB`, 'flat'], ['– the dashboard\'s memory', `${serverResidentMiB.first} MiB, then ${serverResidentMiB.last} MiB`, 'flat']],
};

/** The results as a table for a README. */
export function tableOf(results) {
  const parts = Object.keys(ROWS).filter((part) => part in results);
  const rows = parts.flatMap((part) => ROWS[part](results[part]));
  return ['| what | measured | goal |', '| --- | --- | --- |', ...rows.map((row) => `| ${row.join(' | ')} |`), ''].join('\n');
}
