import { counted, percent } from './format.js';
import { type Markup, html } from './markup.js';
import { breakable, section } from './page.js';
import type { Mistake } from './records.js';

/** Only a picture in the file itself is drawn: the page loads nothing. */
const PICTURE = /^data:image\/(?:jpeg|png|webp);base64,[A-Za-z0-9+/]+={0,2}$/;

/** The pictures that the model was surest of, and wrong. `wrongCount` is how many it got wrong in all. */
export function mistakesSection(classes: readonly string[], mistakes: readonly Mistake[], { wrongCount, judgedCount }: { wrongCount: number; judgedCount: number }): Markup {
  const frame = { id: 'mistakes', title: 'The most confident mistakes' };
  if (judgedCount === 0) return section({ ...frame, body: html`<p>No validation picture was judged.</p>` });
  if (wrongCount === 0) return section({ ...frame, body: html`<p>There are none: all ${counted(judgedCount, 'picture')} were told right.</p>` });
  if (mistakes.length === 0) return section({ ...frame, body: html`<p>${counted(wrongCount, 'picture')} went wrong, but none is kept in this record.</p>` });
  const lead = `${counted(wrongCount, 'picture')} of ${judgedCount.toLocaleString('en-US')} went wrong. ${mistakes.length < wrongCount ? `Here ${mistakes.length === 1 ? 'is the one' : `are the ${mistakes.length}`} that the model was surest of.` : 'Here they are, the surest first.'} A wrong label in the data shows up here too.`;
  return section({ ...frame, lead, body: html`<ul class="mistakes">${mistakes.map((mistake) => card(classes, mistake))}</ul>` });
}

function card(classes: readonly string[], { path, label, predicted, probability, thumbnail }: Mistake): Markup {
  const [truth, said] = [classes[label] ?? `class ${label}`, classes[predicted] ?? `class ${predicted}`];
  const picture = PICTURE.test(thumbnail) ? html`<img src="${thumbnail}" alt="${truth}, taken for ${said}">` : html`<div class="gone">The picture is no longer there.</div>`;
  return html`<li><figure>${picture}<figcaption><b>${breakable(said)}</b><br>${percent(probability)} sure<br>in truth ${breakable(truth)}<small>${breakable(path)}</small></figcaption></figure></li>
`;
}
