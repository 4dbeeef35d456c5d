// What the last runs of a script used, against what they may use.

/** The middle and the most of some figures; nothing of none. */
export function spread(values: readonly number[]): { median: number; most: number } | undefined {
	const sorted = [...values].sort((one, other) => one - other);
	const middle = Math.floor(sorted.length / 2);
	const [high, low] = [sorted[middle], sorted[sorted.length % 2 === 0 ? middle - 1 : middle]];
	if (high === undefined || low === undefined) return undefined;
	return { median: (high + low) / 2, most: sorted.at(-1)! };
}

/** A limit: its name in the API, and the unit that a form has it in. */
export interface LimitKind {
	field: 'fuel_max' | 'memory_bytes_max' | 'wall_ms_max';
	/** Its name in what the server refuses. */
	limit: string;
	/** The setting that bounds it. */
	setting: string;
	label: string;
	/** How many of the API's units are one of the form's. */
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

/** A limit as it is typed; the platform's default is nothing. */
export function typedLimit(value: number | null | undefined, { unit }: LimitKind): string {
	return value === null || value === undefined ? '' : String(value / unit);
}

/** A typed limit as the API takes it; `undefined` for what is no number. */
export function readLimit(
	text: string | number | null,
	{ unit }: LimitKind
): number | null | undefined {
	const typed = String(text ?? '').trim();
	if (typed === '') return null;
	const value = Math.round(Number(typed) * unit);
	return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}
