/** A state of the world that a person can mend: printed as two sentences, what happened and what to do, without a stack trace. */
export class SetupError extends Error {
  name = 'SetupError';

  /**
   * @param {string} message what happened, and where
   * @param {string} remedy what to do
   * @param {1 | 2 | 129 | 130 | 143} exitCode 1: a stage failed; 2: the call was wrong; 129 and more: interrupted by SIGHUP, SIGINT, SIGTERM
   * @param {string[]} tail the last lines of what the tool printed that failed
   */
  constructor(message, remedy, exitCode = 1, tail = []) {
    super(message);
    this.remedy = remedy;
    this.exitCode = exitCode;
    this.tail = tail;
  }
}

const SYSTEM = {
  ENOSPC: 'Free some space on that disk, and run this again.',
  EDQUOT: 'Your quota on that disk is used up: free some space, and run this again.',
  EROFS: 'That disk is read-only: clone into a folder that can be written to.',
  EACCES: 'Run this as the user to whom the checkout belongs, or mend the rights of that file.',
  EPERM: 'Run this as the user to whom the checkout belongs, or mend the rights of that file.',
};

/** A full disk or a missing right as what it is, a matter of the machine's; anything else unchanged. */
export function asSetupError(error) {
  if (error instanceof SetupError || !Object.hasOwn(SYSTEM, error?.code ?? '')) return error;
  const wrapped = new SetupError(`Set-up was stopped by the system: ${error.message}.`, SYSTEM[error.code]);
  wrapped.cause = error;
  return wrapped;
}
