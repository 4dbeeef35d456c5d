import { expect, it } from 'vitest';
import type { Schema } from '$lib/api/client';
import { fuelShares, NAMED_MAX, percent } from './fuel';

const script = (name: string, runs: number, fuel_total: number): Schema['ScriptStats'] => ({
	script_id: name,
	name,
	runs,
	errors: 0,
	fuel_total
});

it('names the most expensive scripts, even if they run rarely', () => {
	const cheap = Array.from({ length: 30 }, (_, each) => script(`cheap-${each}`, 1_000 - each, 10));
	const { named, rest } = fuelShares([...cheap, script('dear', 1, 700)]);
	expect(named).toHaveLength(NAMED_MAX);
	expect(named[0]).toMatchObject({ script: { name: 'dear' }, share: 0.7 });
	expect(rest).toEqual({ scripts: 21, fuel: 210, share: 0.21 });
	const all = named.reduce((sum, { share }) => sum + share, rest.share);
	expect(all).toBeCloseTo(1);
});

it('works without a rest and without any fuel', () => {
	expect(fuelShares([script('one', 1, 5)]).rest.scripts).toBe(0);
	expect(fuelShares([script('one', 1, 0)]).named[0]!.share).toBe(0);
	expect(fuelShares([]).named).toEqual([]);
});

it('does not round small shares to 0', () => {
	expect([0, 0.0004, 0.004, 0.0961, 0.62].map(percent)).toEqual([
		'0 %',
		'< 0.1 %',
		'0.4 %',
		'9.6 %',
		'62 %'
	]);
});
