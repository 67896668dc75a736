import type { ConformanceCase } from './case.js';
import { bfloat16Cases } from './cases/bfloat16.js';
import { complexCases } from './cases/complex.js';
import { creationCases } from './cases/creation.js';
import { elementwiseCases } from './cases/elementwise.js';
import { imageCases } from './cases/images.js';
import { linearAlgebraCases } from './cases/linear-algebra.js';
import { pictureCases } from './cases/pictures.js';
import { reductionCases } from './cases/reductions.js';
import { selectionCases } from './cases/selection.js';
import { shapeCases } from './cases/shapes.js';
import { trainingCases } from './cases/training.js';
import { volumeCases } from './cases/volume.js';

/** TF.js's operators as its public interface offers them: these run on any backend that has the kernels. */
export const publicCases: readonly ConformanceCase[] = [
  ...elementwiseCases, ...reductionCases, ...shapeCases, ...creationCases, ...linearAlgebraCases, ...imageCases, ...volumeCases, ...pictureCases, ...selectionCases, ...complexCases,
];

/** The kernels that this backend has beyond TF.js's, and activations in bfloat16. */
export const ownCases: readonly ConformanceCase[] = [...trainingCases, ...bfloat16Cases];
