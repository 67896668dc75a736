/** @param {number} value @param {number} [digits] after the point */
export const rounded = (value, digits = 1) => Number(value.toFixed(digits));
