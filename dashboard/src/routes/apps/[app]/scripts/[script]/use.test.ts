import { expect, it } from 'vitest';
import { LIMITS, readLimit, spread, typedLimit } from './use';

it('finds the median and the maximum', () => {
	expect(spread([])).toBeUndefined();
	expect(spread([3])).toEqual({ median: 3, most: 3 });
	expect(spread([10, 1, 2])).toEqual({ median: 2, most: 10 });
	expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, most: 4 });
});

it('converts limits to the units of the form', () => {
	const [fuel, memory, time] = LIMITS;
	expect([typedLimit(800_000_000, fuel!), typedLimit(32 << 20, memory!)]).toEqual(['800', '32']);
	expect([typedLimit(null, time!), typedLimit(1_500_000, fuel!)]).toEqual(['', '1.5']);
	expect([readLimit('1.5', fuel!), readLimit('', fuel!), readLimit(32, memory!)]).toEqual([
		1_500_000,
		null,
		32 << 20
	]);
	expect(['-1', '0', 'much', '1e99'].map((text) => readLimit(text, time!))).toEqual([
		undefined,
		undefined,
		undefined,
		undefined
	]);
});
