import { createRequire } from 'node:module';

/** One of TF.js's cases after its run. */
export interface CaseResult { name: string; passed: boolean; message: string }

interface SpecResult { fullName: string; status: string; failedExpectations: { message: string }[] }
interface JasmineEnv {
  configure(options: object): void;
  addReporter(reporter: { specDone: (result: SpecResult) => void }): void;
  execute(): Promise<unknown>;
}
interface JasmineRequire { core(require: JasmineRequire): { getEnv(): JasmineEnv }; interface(jasmine: object, env: JasmineEnv): object }

// TF.js's tests take Jasmine's functions from the global scope when they are loaded, so this module is loaded before them.
const required = createRequire(import.meta.url)('jasmine-core/lib/jasmine-core/jasmine.js') as JasmineRequire;
const core = required.core(required), environment = core.getEnv();
Object.assign(globalThis, required.interface(core, environment));

/** Runs all cases that were described and whose full name is wanted, in their order. */
export async function runCases(wanted: (name: string) => boolean): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  environment.configure({ random: false, specFilter: (spec: { getFullName(): string }) => wanted(spec.getFullName()) });
  environment.addReporter({
    specDone: ({ fullName, status, failedExpectations }) => {
      if (status === 'passed' || status === 'failed') results.push({ name: fullName, passed: status === 'passed', message: failedExpectations[0]?.message.split('\n')[0] ?? '' });
    },
  });
  await environment.execute();
  return results;
}
