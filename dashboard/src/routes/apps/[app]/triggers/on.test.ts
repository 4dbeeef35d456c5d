import { describe, expect, it } from 'vitest';
import { blank, globMatches, inWords, KINDS } from './on';

describe('a glob', () => {
	// The same cases as the server's.
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
	])('%s stands for %s', (glob, name) => expect(globMatches(glob, name)).toBe(true));

	it.each([
		['', 'a'],
		['orders', 'orders2'],
		['orders:*', 'orders'],
		['*.png', 'a.png/'],
		['*.png', 'apng'],
		['ab*ba', 'aba'],
		['a*b*c', 'a-c-b']
	])('%s does not stand for %s', (glob, name) => expect(globMatches(glob, name)).toBe(false));
});

it('says in words what every kind fires on', () => {
	expect(inWords({ kind: 'kv', collection: 'orders', operations: ['insert'] })).toBe(
		'orders (insert)'
	);
	expect(inWords({ kind: 'files', bucket: 'in', operations: ['insert', 'update', 'delete'] })).toBe(
		'in/*'
	);
	expect(inWords({ kind: 'cron', schedule: '@daily' })).toBe('@daily · UTC');
	for (const { kind } of KINDS) expect(blank(kind).kind).toBe(kind);
});
