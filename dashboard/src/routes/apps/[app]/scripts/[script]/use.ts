// The resource use of the last runs of a script, and its limits.

/** Returns the median and the maximum; `undefined` without values. */
export function spread(values: readonly number[]): { median: number; most: number } | undefined {
	const sorted = [...values].sort((one, other) => one - other);
	const middle = Math.floor(sorted.length / 2);
	const [high, low] = [sorted[middle], sorted[sorted.length % 2 === 0 ? middle - 1 : middle]];
	if (high === undefined || low === undefined) return undefined;
	return { median: (high + low) / 2, most: sorted.at(-1)! };
}

/** A limit: its names and its unit in the form. */
export interface LimitKind {
	field: 'fuel_max' | 'memory_bytes_max' | 'wall_ms_max';
	/** Its name in errors of the API. */
	limit: string;
	/** The setting that bounds it. */
	setting: string;
	label: string;
	/** The unit of the form, in units of the API. */
	unit: number;
}

export const LIMITS: readonly LimitKind[] = [
	{
		field: 'fuel_max',
		limit: 'fuel',
		setting: 'PICLOUD_MAX_FUEL',
		label: 'Fuel, in millions of wasm instructions',
		unit: 1_000_000
	},
	{
		field: 'memory_bytes_max',
		limit: 'memory_bytes',
		setting: 'PICLOUD_MAX_MEMORY_BYTES',
		label: 'Memory, in MiB',
		unit: 1024 * 1024
	},
	{
		field: 'wall_ms_max',
		limit: 'wall_ms',
		setting: 'PICLOUD_MAX_WALL_MS',
		label: 'Time, in ms',
		unit: 1
	}
];

/** Converts a limit for the form; empty for the default. */
export function typedLimit(value: number | null | undefined, { unit }: LimitKind): string {
	return value === null || value === undefined ? '' : String(value / unit);
}

/** Converts a typed limit for the API; `undefined` if it is not a number above 0. */
export function readLimit(
	text: string | number | null,
	{ unit }: LimitKind
): number | null | undefined {
	const typed = String(text ?? '').trim();
	if (typed === '') return null;
	const value = Math.round(Number(typed) * unit);
	return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}
