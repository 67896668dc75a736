import { UserError } from '@chameleon/core';

/**
 * What an exchange was at was given up: it was told to, or a peer went away or stayed away. The exchange is of no use
 * afterwards; no gradient was applied, so the same step can be done again in a new one.
 */
export class ExchangeAborted extends UserError {
  override readonly name = 'ExchangeAborted';
}
