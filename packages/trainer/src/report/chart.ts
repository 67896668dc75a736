import type { EChartsCoreOption } from 'echarts/core';
import { type Child, type Markup, html, trusted } from './markup.js';

/**
 * Charts are drawn here, once, into SVG: the page needs no script to be read. Colours are the page's CSS
 * variables, which ECharts passes through, so one drawing serves both themes.
 */
export interface Drawing {
  readonly option: EChartsCoreOption;
  /** px; drawn at this size and scaled to the page's width. */
  readonly width: number;
  readonly height: number;
}

export interface Figure {
  /** Prefix of the identifiers inside the drawing; one a page. */
  readonly id: string;
  readonly title: string;
  /** What the picture shows, for who can't see it. */
  readonly description: string;
  readonly wide: Drawing;
  /** For a phone, where the wide one would be too small to read. */
  readonly narrow?: Drawing;
  readonly legend?: Child;
}

export const FONT_SIZE = 13;

/** One line of a legend: a sample of the mark, its name and what it says at the end. */
export const legendEntry = (mark: Child, name: string, value?: string) =>
  html`<li>${mark} ${name}${value === undefined ? null : html` <b>${value}</b>`}</li>`;

/** A drawing as a figure with its title and legend. */
export async function drawFigure({ id, title, description, wide, narrow, legend }: Figure): Promise<Markup> {
  return html`<figure class="chart${narrow ? ' two-sizes' : ''}">
<figcaption><h3>${title}</h3>${legend && html`<ul class="legend">${legend}</ul>`}</figcaption>
<div class="wide">${await draw(wide, `${id}-w`, description)}</div>
${narrow && html`<div class="narrow">${await draw(narrow, `${id}-n`, description)}</div>`}</figure>`;
}

async function draw({ option, width, height }: Drawing, id: string, description: string): Promise<Markup> {
  const echarts = await loadEcharts();
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, backgroundColor: 'transparent', ...option });
    return trusted(name(chart.renderToSVGString({ useViewBox: true }), id, description));
  } finally {
    chart.dispose();
  }
}

/**
 * ECharts numbers its identifiers by the process; ours depend on the page alone. What it adds for hovering and for a
 * script goes, and inside HTML an SVG needs no name space.
 */
function name(svg: string, id: string, description: string): string {
  const label = html`role="img" aria-label="${description}"`.text;
  return svg
    .replace(/<style[\s\S]*?<\/style>\s*/g, '')
    .replace(/ (?:class="zr[\w-]*"|ecmeta_\w+="[^"]*"|xmlns(?::\w+)?="[^"]*"|pointer-events="visible")/g, '')
    .replace(/\bzr\d+-/g, `${id}-`)
    .replace('<svg ', () => `<svg ${label} `);
}

/** Only what the charts are made of, and only when one is drawn: loading it takes a tenth of a second. */
async function loadEcharts() {
  const [core, { CustomChart, LineChart, ScatterChart }, { GridComponent, MarkLineComponent }, { SVGRenderer }] = await Promise.all([
    import('echarts/core'),
    import('echarts/charts'),
    import('echarts/components'),
    import('echarts/renderers'),
  ]);
  core.use([CustomChart, LineChart, ScatterChart, GridComponent, MarkLineComponent, SVGRenderer]);
  return core;
}

/** How every axis looks. */
export const axisStyle = {
  axisLine: { show: true, lineStyle: { color: 'var(--rule)' } },
  axisTick: { show: false },
  axisLabel: { color: 'var(--muted)', fontSize: FONT_SIZE, fontFamily: 'inherit' },
  splitLine: { show: true, lineStyle: { color: 'var(--grid)' } },
  nameTextStyle: { color: 'var(--muted)', fontSize: FONT_SIZE, fontFamily: 'inherit' },
};
