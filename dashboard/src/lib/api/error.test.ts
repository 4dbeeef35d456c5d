import { describe, expect, it } from 'vitest';
import { ApiError, asApiError } from './error';

describe('an error of the API', () => {
	it('has the code, the message and the details', () => {
		const body = { error: { code: 'source_invalid', message: 'no', line: 3, column: 7 } };
		const error = ApiError.of(422, body);
		expect(error.code).toBe('source_invalid');
		expect(error.message).toBe('no');
		expect(error.number('line')).toBe(3);
		expect(error.number('code')).toBeUndefined();
	});

	it('names the status if the body has no message', () => {
		for (const body of [undefined, null, '', {}, { error: {} }, { error: 'no' }]) {
			expect(ApiError.of(502, body).message).toBe('The server responded with status 502.');
		}
	});

	it('is made from anything that is thrown', () => {
		expect(asApiError('no').message).toBe('no');
		expect(asApiError(new TypeError('no')).message).toBe('no');
		const error = ApiError.unreachable();
		expect(asApiError(error)).toBe(error);
	});
});
