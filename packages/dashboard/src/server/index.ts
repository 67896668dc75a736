export { type AccessOptions, readPasswords } from './access.js';
export { DashboardError } from './errors.js';
export type { RunControl } from './run-routes.js';
export { type DashboardOptions, type RunningDashboard, startDashboard } from './start.js';
