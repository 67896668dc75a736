import type { OpenApiDocument } from '../openapi.js';

type Schema = Record<string, unknown>;
interface Body { content?: Record<string, { schema?: Schema }>; description?: string }
interface Operation { summary?: string; description?: string; parameters?: { name: string; in: string; required?: boolean; schema?: Schema; description?: string }[]; requestBody?: Body; responses: Record<string, Body> }

/** The OpenAPI document as a page to read: made here, so that nothing has to be loaded from elsewhere or run in the browser. */
export function renderDocs(document: OpenApiDocument): string {
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, item]) => Object.entries(item as Record<string, Operation>).map(([method, operation]) => ({ path, method, operation })));
  const { info } = document;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escape(info.title)}: how to ask</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head>
<body><main class="docs"><h1>${escape(info.title)} ${escape(info.version)}</h1><p>${escape(info.description ?? '')} <a href="/openapi.json">The document itself</a>; <a href="/">try the model</a>.</p>
<nav aria-label="Calls"><ul>${operations.map(({ path, method }) => `<li><a href="#${anchor(method, path)}"><b>${method.toUpperCase()}</b> ${escape(path)}</a></li>`).join('')}</ul></nav>
${operations.map(renderOperation).join('\n')}
<h2>Shapes</h2>${Object.entries(document.components?.schemas ?? {}).map(([name, schema]) => `<section id="shape-${escape(name)}"><h3>${escape(name)}</h3><pre tabindex="0">${escape(JSON.stringify(schema, null, 2))}</pre></section>`).join('\n')}
</main></body></html>
`;
}

function renderOperation({ path, method, operation }: { path: string; method: string; operation: Operation }): string {
  const parameters = (operation.parameters ?? []).map(({ name, in: place, required, schema, description }) =>
    `<tr><th scope="row"><code>${escape(name)}</code></th><td>${escape(place)}${required ? ', needed' : ''}</td><td>${renderSchema(schema)}</td><td>${escape(description ?? '')}</td></tr>`);
  return `<section id="${anchor(method, path)}"><h2><b>${method.toUpperCase()}</b> ${escape(path)}</h2><p>${escape(operation.summary ?? '')}. ${escape(operation.description ?? '')}</p>
${parameters.length > 0 ? `<table><caption>Parameters</caption>${parameters.join('')}</table>` : ''}
${operation.requestBody ? `<table><caption>Body</caption>${renderContent(operation.requestBody)}</table>` : ''}
<table><caption>Answers</caption>${Object.entries(operation.responses).map(([status, body]) => `<tr><th scope="row">${escape(status)}</th><td>${escape(body.description ?? '')}</td></tr>${renderContent(body)}`).join('')}</table></section>`;
}

const renderContent = ({ content = {} }: Body): string => Object.entries(content).map(([type, { schema }]) => `<tr><td><code>${escape(type)}</code></td><td>${renderSchema(schema)}</td></tr>`).join('');

function renderSchema(schema: Schema | undefined): string {
  const name = typeof schema?.$ref === 'string' ? schema.$ref.split('/').at(-1)! : null;
  const { description: _said, ...shape } = schema ?? {};
  return name === null ? `<code>${escape(JSON.stringify(shape))}</code>` : `<a href="#shape-${escape(name)}">${escape(name)}</a>`;
}

const anchor = (method: string, path: string): string => escape(`${method}${path.replace(/[^\w]+/g, '-')}`);

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
