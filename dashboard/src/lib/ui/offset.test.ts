import { expect, it } from 'vitest';
import { offsetIn } from './offset';

it('reads an offset from a URL, and ignores invalid ones', () => {
	const offsets = [
		'offset=50',
		'',
		'offset=',
		'offset=x',
		'offset=-3',
		'offset=1.5',
		'offset=1e99'
	];
	const read = offsets.map((search) => offsetIn(new URLSearchParams(search)));
	expect(read).toEqual([50, 0, 0, 0, 0, 0, 0]);
});
