// The cost of the first visit: bytes, time and layout shift.

import { expect, test } from './host';

/** Maximum size of everything that is loaded until the apps are shown, compressed. */
const BYTES_MAX = 200 * 1024;
/** Lighthouse rates this value as good. */
const LAYOUT_SHIFT_MAX = 0.1;

test('the first visit is small and the layout does not shift', async ({
	page,
	signIn,
	host
}, info) => {
	await host.api('POST', '/apps', { name: 'first' });
	await page.addInitScript(() => {
		const shifts = { sum: 0, paint: 0 };
		Object.assign(window, { shifts });
		new PerformanceObserver((list) => {
			for (const entry of list.getEntries() as (PerformanceEntry & { value: number })[]) {
				shifts.sum += entry.value;
			}
		}).observe({ type: 'layout-shift', buffered: true });
		new PerformanceObserver((list) => {
			for (const entry of list.getEntries()) shifts.paint = entry.startTime;
		}).observe({ type: 'largest-contentful-paint', buffered: true });
	});
	const devtools = await page.context().newCDPSession(page);
	await devtools.send('Network.enable');
	let bytes = 0;
	const asked: string[] = [];
	devtools.on('Network.responseReceived', ({ response }) => asked.push(response.url));
	devtools.on('Network.loadingFinished', ({ encodedDataLength }) => {
		bytes += encodedDataLength;
	});
	await signIn();
	await page.getByRole('link', { name: 'first', exact: true }).waitFor();
	await expect(page.getByRole('img', { name: /in the last hour/ }).first()).toBeVisible();
	const { sum, paint } = await page.evaluate(
		() => (window as unknown as { shifts: { sum: number; paint: number } }).shifts
	);
	const figures = `${bytes} bytes in ${asked.length} responses, layout shift ${sum.toFixed(3)}, largest paint after ${Math.round(paint)} ms`;
	info.annotations.push({ type: 'figures', description: figures });
	console.log(`first visit: ${figures}`);
	expect(bytes).toBeGreaterThan(10_000);
	expect(bytes).toBeLessThanOrEqual(BYTES_MAX);
	expect(sum).toBeLessThanOrEqual(LAYOUT_SHIFT_MAX);
	expect(asked.filter((url) => !url.startsWith(host.url) && !url.startsWith('data:'))).toEqual([]);
});
