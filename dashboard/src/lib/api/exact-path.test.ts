import { describe, expect, it } from 'vitest';
import { ApiError } from './error';
import { exactPath } from './exact-path';

const path = (collection: string, key: string) =>
	`/api/v1/apps/demo/kv/${encodeURIComponent(collection)}/${encodeURIComponent(key)}`;

describe('a path', () => {
	it('is sent unchanged', () => {
		for (const name of ['c', '...', 'a/../b', '%2e%2e', 'ü', ' ', '?x', '#x', '~', "'()*!"]) {
			expect(exactPath(path(name, 'k'))).toBe(path(name, 'k'));
			expect(exactPath(`${path('c', name)}?limit=1`)).toBe(`${path('c', name)}?limit=1`);
		}
	});

	it('is not sent if it would become another path', () => {
		for (const name of ['.', '..']) {
			expect(() => exactPath(path(name, 'outbox'))).toThrow(ApiError);
			expect(() => exactPath(path('c', name))).toThrow(ApiError);
		}
	});
});
