// Formats numbers for people.

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });
const whole = new Intl.NumberFormat('en');

const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
	['year', 365 * 86_400],
	['month', 30 * 86_400],
	['day', 86_400],
	['hour', 3_600],
	['minute', 60],
	['second', 1]
];

/** The interval of the page's clock, in seconds. */
const CLOCK_STEP_S = 10;

/** Formats a time relative to now: `5 min. ago`. `at` is in µs, `now` in ms. */
export function timeAgo(at: number, now: number): string {
	const seconds = (at / 1000 - now) / 1000;
	// The clock lags by up to one step, so a time just past can seem to be in the future.
	if (seconds > 0 && seconds <= CLOCK_STEP_S) return 'now';
	for (const [unit, length] of STEPS) {
		if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
	}
	return 'now';
}

/** Formats a time with date and the viewer's time zone. `at` is in µs. */
export function exactTime(at: number): string {
	return exact.format(new Date(at / 1000));
}

/** Formats a duration in µs: `840 µs`, `12 ms`, `4.1 s`, `3 min`. */
export function duration(us: number | null | undefined): string {
	if (us === null || us === undefined) return '—';
	if (us < 1_000) return `${Math.round(us)} µs`;
	if (us < 1_000_000) return `${short(us / 1_000)} ms`;
	if (us < 120_000_000) return `${short(us / 1_000_000)} s`;
	if (us < 7_200_000_000) return `${Math.round(us / 60_000_000)} min`;
	if (us < 172_800_000_000) return `${Math.round(us / 3_600_000_000)} h`;
	return `${Math.round(us / 86_400_000_000)} days`;
}

/** Formats a size in bytes: `512 B`, `4.2 KiB`, `31 MiB`. */
export function bytes(size: number | null | undefined): string {
	if (size === null || size === undefined) return '—';
	if (size < 1024) return `${size} B`;
	let value = size;
	for (const unit of ['KiB', 'MiB', 'GiB']) {
		value /= 1024;
		if (value < 1024) return `${short(value)} ${unit}`;
	}
	return `${short(value / 1024)} TiB`;
}

/** Formats a count in short: `999`, `1.2 k`, `4 M`. */
export function count(value: number | null | undefined): string {
	if (value === null || value === undefined) return '—';
	if (value < 1_000) return String(value);
	if (value < 1_000_000) return `${short(value / 1_000)} k`;
	if (value < 1_000_000_000) return `${short(value / 1_000_000)} M`;
	return `${short(value / 1_000_000_000)} G`;
}

/** Formats a count with all its digits: `1,234,567`. */
export function exactCount(value: number): string {
	return whole.format(value);
}

/** Formats a count with its noun: `1 run`, `2 runs`. */
export function plural(value: number, one: string, many = `${one}s`): string {
	return `${whole.format(value)} ${value === 1 ? one : many}`;
}

function short(value: number): string {
	return value < 10 ? String(Math.round(value * 10) / 10) : String(Math.round(value));
}
