import { expect, it } from 'vitest';
import { filterOf, queryOf } from './filter';

it('converts a filter from a URL to a query of the API', () => {
	const search = new URLSearchParams('status=error&span=1h&q=a%20b&event=e1&offset=50');
	const filter = filterOf(search);
	expect(filter).toMatchObject({ status: 'error', span: '1h', q: 'a b', event: 'e1', offset: 50 });
	expect(queryOf(filter, 7_200_000)).toEqual({
		status: 'error',
		trigger: undefined,
		trigger_id: undefined,
		from: 3_600_000_000,
		q: 'a b',
		event_id: 'e1',
		caused_by: undefined,
		offset: 50
	});
});

it('ignores invalid values in a URL', () => {
	const filter = filterOf(new URLSearchParams('span=forever&offset=-3'));
	expect([filter.span, filter.offset]).toEqual(['', 0]);
	expect(filterOf(new URLSearchParams('offset=x')).offset).toBe(0);
});
