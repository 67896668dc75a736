/** Whether the addon runs under the address sanitizer: it keeps no freed memory then, and the sanitizer reserves more addresses than a limit of them would give. */
export const isSanitized = process.env['ASAN_OPTIONS'] !== undefined;
