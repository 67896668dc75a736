import { type Logger, pino } from 'pino';

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One line of JSON for each fact, on standard error: standard output stays free for results. */
export const createLogger = (level: LogLevel): Logger => pino({ level }, pino.destination({ dest: 2, sync: false }));
