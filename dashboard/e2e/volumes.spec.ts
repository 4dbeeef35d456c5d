// The pages with a realistic amount of data: content, layout and cost.

import type { Page } from '@playwright/test';
import { DEAD_LETTERS, DEAR, fill } from './fill';
import { fits } from './geometry';
import { expect, test } from './host';

/** The folder for screenshots. */
const PICTURES = '../target/screenshots/volumes';

/** Widths of windows, with the maximum height of a page of 50 rows. */
const WIDTHS = [
	[1440, 4_000],
	[1024, 6_000],
	[390, 10_000]
] as const;

let failing = '';

test.beforeAll(async ({ host }) => {
	test.setTimeout(120_000);
	({ failing } = await fill(host));
});

/** Records the requests to the API from now on: their paths, and the received bytes. */
async function watchApi(page: Page) {
	const devtools = await page.context().newCDPSession(page);
	await devtools.send('Network.enable');
	const asked: string[] = [];
	const ids = new Set<string>();
	const traffic = { asked, bytes: 0, answered: 0 };
	devtools.on('Network.requestWillBeSent', ({ requestId, request }) => {
		const { pathname, search } = new URL(request.url);
		if (!pathname.startsWith('/api/')) return;
		ids.add(requestId);
		asked.push(`${request.method} ${pathname}${search}`);
	});
	devtools.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
		if (!ids.has(requestId)) return;
		traffic.bytes += encodedDataLength;
		traffic.answered++;
	});
	return traffic;
}

async function isLoaded(page: Page) {
	await expect(page.getByRole('status', { name: 'Loading' })).toHaveCount(0);
	await page.evaluate(() => document.fonts.ready);
}

for (const [width, height] of WIDTHS) {
	test(`every page with a lot of data fits ${width} px`, async ({ page, signIn }) => {
		await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
		await signIn();
		for (const [name, address, shown] of [
			['apps', '/', 'app-099'],
			['scripts', '/apps/busy/scripts', 'handler-of-requests-1'],
			['triggers', '/apps/busy/triggers', 'deliver-invoices'],
			['queues', '/apps/busy/queues', 'invoices.to-be-delivered'],
			['executions', '/apps/busy/executions', 'handler-of-requests'],
			['dead-letters', '/apps/busy/dead-letters', 'deliver-invoices'],
			['key-value', '/apps/busy/data?collection=sessions', 'Mozilla'],
			['files', '/apps/busy/files?bucket=exports', 'report-1.csv'],
			['instance', '/instance', 'executions']
		] as const) {
			await page.goto(address);
			await expect(page.getByText(shown).locator('visible=true').first()).toBeVisible();
			await isLoaded(page);
			await fits(page, name, name === 'instance' ? 12_000 : height);
			await page.screenshot({ path: `${PICTURES}/${width}/${name}.png` });
		}
	});

	test(`expanded rows fit ${width} px`, async ({ page, signIn }) => {
		await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
		await signIn();
		await page.goto('/apps/busy/executions?script=log-and-answer');
		await page.getByRole('button', { name: /Details of log-and-answer/ }).click();
		await expect(page.getByRole('heading', { name: 'Log' })).toBeVisible();
		await fits(page, 'execution', height);
		await page.screenshot({ path: `${PICTURES}/${width}/execution.png`, fullPage: true });
		await page.goto('/apps/busy/dead-letters');
		await page
			.getByRole('button', { name: /Details of/ })
			.first()
			.click();
		await expect(page.getByRole('region', { name: 'Payload' })).toContainText('customer');
		await fits(page, 'dead letter', height + 1_000);
		const replay = page.getByRole('button', { name: /^Replay queue/ }).first();
		const box = await replay.boundingBox();
		expect(box && box.x >= 0 && box.x + box.width <= width, JSON.stringify(box)).toBe(true);
	});
}

test('a key that is a UUID fits on one line', async ({ page, signIn }) => {
	await page.setViewportSize({ width: 1440, height: 900 });
	await signIn();
	await page.goto('/apps/busy/data?collection=sessions');
	const keys = page.locator('td.key');
	await expect(keys).toHaveCount(50);
	for (const key of [keys.first(), keys.last()]) {
		const box = (await key.boundingBox())!;
		expect(box.width).toBeGreaterThan(300);
		expect(box.height).toBeLessThan(50);
	}
});

test('an execution shows its log, request and response unchanged', async ({ page, signIn }) => {
	await signIn();
	await page.goto('/apps/busy/executions?script=log-and-answer');
	await page.getByRole('button', { name: /Details of log-and-answer/ }).click();
	const log = page.getByRole('listitem').filter({ hasText: 'counted' });
	await expect(log.locator('code')).toHaveText('{"n":124750}');
	await expect(page.getByRole('region', { name: 'Request body' })).toHaveText(
		/^\{\s*"item": "tea",\s*"count": 2\s*\}$/
	);
	const header = page.locator('dl > div').filter({ hasText: 'x-request-kind' });
	await expect(header.locator('dd')).toHaveText('example');
	await expect(page.locator('dl > div').filter({ hasText: 'x-kind' }).last()).toContainText('new');
	await expect(page.getByText('Query (1)')).toBeVisible();
	await expect(page.getByText('\\"')).toHaveCount(0);
});

test('the script that uses the most fuel is named first', async ({ page, signIn }) => {
	await signIn();
	await page.goto('/apps/busy/executions');
	const shares = page.getByRole('list', { name: 'Fuel per script' }).getByRole('listitem');
	await expect(shares.first()).toContainText(DEAR);
	await expect(shares.first()).toContainText(/\d %/);
	await expect(shares).toHaveCount(11);
	await expect(shares.last()).toContainText(/the rest, \d+ scripts.*%/);
});

test('sizes of files and tables are shown', async ({ page, signIn }) => {
	await signIn();
	await page.goto('/apps/busy/files?bucket=exports');
	await expect(page.getByRole('cell', { name: '1.5 KiB', exact: true })).toHaveCount(20);
	await page.goto('/instance');
	const storage = page.getByRole('region', { name: 'Storage' });
	await expect(storage.getByRole('row').filter({ hasText: 'executions' }).first()).toContainText(
		/KiB|MiB/
	);
	await expect(storage.getByText('—')).toHaveCount(0);
	await expect(page.getByRole('region', { name: 'At a glance' })).toContainText(
		/On disk.*database .*, files \d/
	);
});

test('the apps and their figures cost two requests, and a search two more', async ({
	page,
	signIn
}) => {
	await signIn();
	await page.goto('/account');
	await page.waitForLoadState('networkidle');
	const { asked } = await watchApi(page);
	await page.getByRole('link', { name: 'Apps', exact: true }).first().click();
	await expect(page.getByRole('img', { name: /in the last hour/ })).toHaveCount(25);
	expect(asked, asked.join('\n')).toHaveLength(2);
	await page.clock.install();
	await page.getByLabel('Search apps').pressSequentially('app-099');
	expect(asked, asked.join('\n')).toHaveLength(2);
	await page.clock.runFor(400);
	await expect(page.getByRole('img', { name: /in the last hour/ })).toHaveCount(1);
	await expect(page.getByRole('link', { name: 'app-099' })).toBeVisible();
	expect(asked, asked.join('\n')).toHaveLength(4);
});

test('a letter that is typed during a search is not lost', async ({ page, signIn }) => {
	// The URL of the page changes right before the page does, so the letter is typed there.
	await page.addInitScript(() => {
		const field = () => document.querySelector<HTMLInputElement>('[aria-label="Search apps"]')!;
		const type = (letter: string) => {
			field().value += letter;
			field().dispatchEvent(new Event('input', { bubbles: true }));
		};
		const replace = history.replaceState.bind(history);
		history.replaceState = (state, title, address) => {
			replace(state, title, address);
			if (!String(address).endsWith('?q=app-0')) return;
			type('9');
			requestAnimationFrame(() => requestAnimationFrame(() => type('9')));
		};
	});
	await signIn();
	await page.getByLabel('Search apps').fill('app-0');
	await expect(page.getByRole('link', { name: 'app-099' })).toBeVisible();
	await expect(page.getByLabel('Search apps')).toHaveValue('app-099');
	await expect(page).toHaveURL(/q=app-099$/);
});

test('an open page of executions costs little while nothing runs', async ({
	page,
	signIn
}, info) => {
	await signIn();
	await page.clock.install();
	await page.goto('/apps/busy/executions');
	await expect(page.getByRole('button', { name: /Details of/ })).toHaveCount(50);
	await isLoaded(page);
	const traffic = await watchApi(page);
	const again = async () => {
		const { answered } = traffic;
		await page.clock.runFor(2_000);
		await expect.poll(() => traffic.answered).toBeGreaterThan(answered);
	};
	for (let each = 0; each < 6; each++) await again();
	const figures = `${traffic.bytes} bytes in ${traffic.asked.length} requests`;
	info.annotations.push({ type: 'figures', description: figures });
	console.log(`executions, 12 s: ${figures}`);
	expect(traffic.asked.length).toBeGreaterThanOrEqual(6);
	expect(traffic.asked.length).toBeLessThanOrEqual(9);
	expect(traffic.bytes).toBeLessThan(10_000);

	// A new execution still appears.
	await page.request.get('/x/busy/handler-of-requests-7?new=1');
	await expect(async () => {
		await again();
		await expect(page.getByRole('row').nth(1)).toContainText('handler-of-requests-7', {
			timeout: 500
		});
	}).toPass();
});

test('replaying all names the number and the filter, and replays those', async ({
	page,
	signIn,
	host
}) => {
	await host.api('PUT', `/scripts/${failing}`, { source: '1' });
	await signIn();
	await page.goto('/apps/busy/dead-letters?script=nobody');
	await expect(page.getByText('There is no script “nobody”')).toBeVisible();
	await expect(page.getByRole('button', { name: 'Replay all that match' })).toHaveCount(0);
	await page.goto('/apps/busy/dead-letters?kind=queue&script=deliver-invoices');
	await page.getByRole('button', { name: 'Replay all that match' }).click();
	const dialog = page.getByRole('dialog', { name: `Replay ${DEAD_LETTERS} dead letters?` });
	await expect(dialog).toContainText('of the kind queue, for the script deliver-invoices');
	await dialog.getByRole('button', { name: 'Replay', exact: true }).click();
	await expect(page.getByText('No unresolved dead letters')).toBeVisible();
	expect(await host.api('GET', '/apps/busy/dead-letters/count')).toEqual({ count: 0 });
});
