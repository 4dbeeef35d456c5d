// The shares of scripts in the used fuel.

import type { Schema } from '$lib/api/client';

/** Maximum number of scripts that are named. */
export const NAMED_MAX = 10;

/** The share of a script in all fuel. */
export interface FuelShare {
	script: Schema['ScriptStats'];
	/** From 0 to 1. */
	share: number;
}

/** Returns the scripts that used the most fuel, largest share first, and the sum of the others. */
export function fuelShares(scripts: readonly Schema['ScriptStats'][]) {
	const total = scripts.reduce((sum, script) => sum + script.fuel_total, 0);
	const shareOf = (fuel: number) => (total > 0 ? fuel / total : 0);
	const sorted = [...scripts].sort((one, other) => other.fuel_total - one.fuel_total);
	const named = sorted.slice(0, NAMED_MAX);
	const others = sorted.slice(NAMED_MAX);
	const fuel = others.reduce((sum, script) => sum + script.fuel_total, 0);
	return {
		named: named.map((script): FuelShare => ({ script, share: shareOf(script.fuel_total) })),
		rest: { scripts: others.length, fuel, share: shareOf(fuel) }
	};
}

/** Formats a share in percent: `62 %`, `0.4 %`, `< 0.1 %`. */
export function percent(share: number): string {
	const value = share * 100;
	if (value === 0) return '0 %';
	if (value < 0.1) return '< 0.1 %';
	return `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}
