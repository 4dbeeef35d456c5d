import { expect, it } from 'vitest';
import { asJson, missingBytes } from './recorded';

it('reads what is JSON, and nothing else', () => {
	expect(asJson('{"n":124750}')).toEqual({ value: { n: 124750 } });
	expect(asJson('null')).toEqual({ value: null });
	expect(asJson('{"cut": "he')).toBeUndefined();
	expect(asJson('plain text')).toBeUndefined();
});

it('tells how much of a body is missing', () => {
	expect(missingBytes('grün', 5)).toBe(0);
	expect(missingBytes('grün', 105)).toBe(100);
	expect(missingBytes('grün', undefined)).toBe(0);
	// A mask can be longer than the credential that it replaces.
	expect(missingBytes('longer than it was', 5)).toBe(0);
});
