import { expect, it } from 'vitest';
import { bytes, count, duration, plural, timeAgo } from './format';

it('says how long ago something was', () => {
	const now = 1_700_000_000_000;
	const before = (seconds: number) => timeAgo((now - seconds * 1000) * 1000, now);
	expect(before(0)).toBe('now');
	expect(before(5)).toBe('5 sec. ago');
	expect(before(59)).toBe('59 sec. ago');
	expect(before(60)).toBe('1 min. ago');
	expect(before(3_600)).toBe('1 hr. ago');
	expect(before(86_400)).toBe('yesterday');
	expect(before(-120)).toBe('in 2 min.');
});

it('gives durations, sizes and counts a unit that fits', () => {
	expect([0, 999, 1_000, 12_345, 999_999].map(duration)).toEqual([
		'0 µs',
		'999 µs',
		'1 ms',
		'12 ms',
		'1000 ms'
	]);
	expect([1_500_000, 180_000_000, 7_200_000_000, 172_800_000_000].map(duration)).toEqual([
		'1.5 s',
		'3 min',
		'2 h',
		'2 days'
	]);
	expect([0, 1023, 1024, 33_554_432, 2 ** 40].map(bytes)).toEqual([
		'0 B',
		'1023 B',
		'1 KiB',
		'32 MiB',
		'1 TiB'
	]);
	expect([7, 1_234, 12_345_678].map(count)).toEqual(['7', '1.2 k', '12 M']);
	expect([duration(null), bytes(undefined), count(null)]).toEqual(['—', '—', '—']);
});

it('counts one thing and several', () => {
	expect([plural(1, 'run'), plural(2_000, 'run'), plural(0, 'entry', 'entries')]).toEqual([
		'1 run',
		'2,000 runs',
		'0 entries'
	]);
});
