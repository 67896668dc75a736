import { describe, expect, it } from 'vitest';
import { html, trusted } from './markup.js';

describe('markup', () => {
  it('escapes what is put in, in text and in attributes', () => {
    const name = `<img src=x onerror="alert('1')"> & co`;
    expect(html`<b title="${name}">${name}</b>`.text).toBe(
      '<b title="&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt; &amp; co">&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt; &amp; co</b>',
    );
  });

  it('nests without escaping twice, and leaves out what is absent', () => {
    expect(html`<p>${['a', html`<b>${'<'}</b>`, trusted('<hr>')]}${null}${undefined}${false}${0}</p>`.text).toBe('<p>a<b>&lt;</b><hr>0</p>');
  });
});
