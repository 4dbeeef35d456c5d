import { describe, expect, it } from 'vitest';
import { blank, globMatches, inWords, KINDS } from './on';

describe('a glob', () => {
	// The same cases as in the server's tests.
	it.each([
		['*', ''],
		['*', 'orders'],
		['orders', 'orders'],
		['orders:*', 'orders:2026'],
		['orders:*', 'orders:'],
		['*.png', 'a/b.png'],
		['a*b*c', 'a-b-b-c'],
		['a**c', 'ac'],
		['*', 'two\nlines']
	])('%s matches %s', (glob, name) => expect(globMatches(glob, name)).toBe(true));

	it.each([
		['', 'a'],
		['orders', 'orders2'],
		['orders:*', 'orders'],
		['*.png', 'a.png/'],
		['*.png', 'apng'],
		['ab*ba', 'aba'],
		['a*b*c', 'a-c-b']
	])('%s does not match %s', (glob, name) => expect(globMatches(glob, name)).toBe(false));
});

it('describes the event of every kind', () => {
	expect(inWords({ kind: 'kv', collection: 'orders', operations: ['insert'] })).toBe(
		'orders (insert)'
	);
	expect(inWords({ kind: 'files', bucket: 'in', operations: ['insert', 'update', 'delete'] })).toBe(
		'in/*'
	);
	expect(inWords({ kind: 'cron', schedule: '@daily' })).toBe('@daily · UTC');
	for (const { kind } of KINDS) expect(blank(kind).kind).toBe(kind);
});
