/** What decoding a picture for a network takes and nothing else, for threads that have to start soon: the package's other modules load archives, schemas and drawing too. */
export { decodePicture } from './decode.js';
export { normalize } from './normalize.js';
export { PictureError } from './picture-error.js';
export { validationPicture } from './transforms.js';
