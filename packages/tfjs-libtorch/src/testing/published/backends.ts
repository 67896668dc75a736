import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util.js';
import '../../index.js';

/** The backend that the cases run on. */
export const BACKEND = process.argv[2] ?? 'libtorch';

setTestEnvs([{ name: BACKEND, backendName: BACKEND, flags: {}, isDataSync: true }]);
