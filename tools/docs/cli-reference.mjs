import { writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Where the page lies. */
export const REFERENCE = fileURLToPath(new URL('../../docs/reference/cli.md', import.meta.url));

/**
 * The command line as a page: each command that does something, with what it takes and an example, out of commander's own
 * description of it, so that page and `--help` can't differ.
 * @param {import('commander').Command} program
 */
export function renderReference(program) {
  const commands = leavesOf(program);
  const index = commands.map((command) => `- [\`${nameOf(command)}\`](#${nameOf(command).replaceAll(' ', '-')}): ${firstSentence(command.description())}`);
  return `${[INTRODUCTION, index.join('\n'), ...commands.map(section)].join('\n\n')}\n`;
}

const INTRODUCTION = `# The command line

Made by \`node tools/docs/cli-reference.mjs\` from the program itself; \`chameleon COMMAND --help\` says the same. In a clone
the program is called as \`npx chameleon\`.

A setting with a name in the column "environment" may also be set by that variable, and those of a run by a key in a file
(\`--config run.yaml\`). Flags win, then the environment, then the file. Exit codes: 0 done, 1 it failed, 2 the call was
wrong, 130 interrupted.`;

/** Commands without commands of their own, in the program's order. */
const leavesOf = (command) => (command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf));

const nameOf = (command) => [command.parent?.parent ? nameOf(command.parent) : 'chameleon', command.name()].join(' ');

const firstSentence = (text) => /^.*?\.(?= |$)/s.exec(text)?.[0] ?? text;

function section(command) {
  const options = command.options.filter((option) => !option.hidden);
  return [`## ${nameOf(command)}`, command.description(), fenced(`${nameOf(command)} ${command.usage()}`), optionTable(options), after(command)].filter((part) => part !== '').join('\n\n');
}

const fenced = (text) => `\`\`\`text\n${text}\n\`\`\``;

function optionTable(options) {
  if (options.length === 0) return '';
  const withEnvironment = options.some((option) => option.envVar !== undefined);
  const cells = (option) => [`\`${option.flags}\``, meaning(option), ...(withEnvironment ? [option.envVar === undefined ? '' : `\`${option.envVar}\``] : [])];
  const header = ['flag', 'meaning', ...(withEnvironment ? ['environment'] : [])];
  return [header, header.map(() => '---'), ...options.map(cells)].map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n');
}

/** The description, the choices and the default, as far as the description doesn't say it. */
function meaning({ description, argChoices, defaultValue, negate }) {
  const choices = argChoices ? ` One of ${argChoices.map((choice) => `\`${choice}\``).join(', ')}.` : '';
  const given = defaultValue === undefined || negate || /default:/.test(description) ? '' : ` (default: ${Array.isArray(defaultValue) ? defaultValue.join(',') : String(defaultValue)})`;
  return `${description}${given}${choices && !/\.$/.test(description + given) ? '.' : ''}${choices}`;
}

/** What stands below the options in the help: remarks, then examples. */
function after(command) {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
  const whole = text.slice(text.indexOf('display help for command') + 'display help for command'.length);
  const [remarks, examples] = whole.split(/\nExamples?:\n/);
  const lines = (examples ?? '').trimEnd().split('\n').map((line) => line.replace(/^ {2}/, ''));
  return [remarks.trim(), examples === undefined ? '' : `\`\`\`sh\n${lines.join('\n')}\n\`\`\``].filter((part) => part !== '').join('\n\n');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { createProgram } = await import('../../packages/cli/dist/main.js');
  await writeFile(REFERENCE, renderReference(createProgram()));
  console.log(`wrote ${REFERENCE}`);
}
