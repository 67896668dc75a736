import { extendZodWithOpenApi } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';

// Schemas that appear in the OpenAPI document have to be made after this.
extendZodWithOpenApi(z);

export { z };
