// Checks of every page, in both themes and on a phone.

import AxeBuilder from '@axe-core/playwright';
import { expect, test } from './host';
import { seed } from './seed';

/** The folder for screenshots: `make screenshots` copies them to the docs. */
const PICTURES = process.env.PICLOUD_SCREENSHOTS ?? '../target/screenshots';

const PAGES: [string, string, RegExp][] = [
	['apps', '/', /Apps/],
	['scripts', '/apps/shop/scripts', /Scripts/],
	['script', '/apps/shop/scripts/orders', /orders/],
	['script-versions', '/apps/shop/scripts/report?tab=versions', /report/],
	['script-limits', '/apps/shop/scripts/orders?tab=limits', /orders/],
	['routes', '/apps/shop/routes', /Routes/],
	['triggers', '/apps/shop/triggers', /Triggers/],
	['queues', '/apps/shop/queues', /Queues/],
	['key-value', '/apps/shop/data', /Key-value/],
	['files', '/apps/shop/files', /Files/],
	['executions', '/apps/shop/executions', /Executions/],
	['execution', '/apps/shop/executions/EXECUTION', /Execution/],
	['dead-letters', '/apps/shop/dead-letters?show=all', /Dead letters/],
	['settings', '/apps/shop/settings', /Settings/],
	['empty-scripts', '/apps/empty/scripts', /Scripts/],
	['empty-triggers', '/apps/empty/triggers', /Triggers/],
	['empty-queues', '/apps/empty/queues', /Queues/],
	['empty-key-value', '/apps/empty/data', /Key-value/],
	['empty-files', '/apps/empty/files', /Files/],
	['empty-executions', '/apps/empty/executions', /Executions/],
	['empty-dead-letters', '/apps/empty/dead-letters', /Dead letters/],
	['secrets', '/apps/shop/secrets', /Secrets/],
	['empty-secrets', '/apps/empty/secrets', /Secrets/],
	['members', '/apps/shop/members', /Members/],
	['audit', '/apps/shop/audit', /Audit/],
	['instance', '/instance', /Instance/],
	['users', '/instance/users', /Users/],
	['keys', '/instance/keys', /Keys/],
	['instance-audit', '/instance/audit', /Audit/],
	['account', '/account', /Account/],
	['invitation', '/invitation#nothing', /Invitation/],
	['sign-out', '/sign-out', /Sign out/],
	['not-found', '/apps/shop/nothing/here', /Not found/]
];

let execution = '';

test.beforeAll(async ({ host }) => {
	({ execution } = await seed(host));
	// The mail to `nobody` becomes a dead letter after its second attempt.
	await expect
		.poll(async () => host.api('GET', '/apps/shop/dead-letters/count'), { timeout: 30_000 })
		.toEqual({ count: 1 });
});

for (const theme of ['light', 'dark'] as const) {
	test(`every page is accessible in the ${theme} theme`, async ({ page, signIn }) => {
		test.slow();
		await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
		await page.goto('/');
		await page.getByLabel('Password').waitFor();
		const check = async (name: string) => {
			const { violations } = await new AxeBuilder({ page }).analyze();
			const found = violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]);
			expect.soft(found, name).toEqual([]);
			await page.screenshot({ path: `${PICTURES}/${theme}/${name}.png`, fullPage: true });
		};
		await check('sign-in');
		await signIn();
		for (const [name, address, title] of PAGES) {
			await page.goto(address.replace('EXECUTION', execution));
			await expect(page).toHaveTitle(title);
			await expect(page.getByRole('status', { name: 'Loading' })).toHaveCount(0);
			await page.evaluate(() => document.fonts.ready);
			await check(name);
		}
	});
}

test('dialogs and expanded rows are accessible', async ({ page, signIn }) => {
	await signIn();
	const check = async (name: string) => {
		const { violations } = await new AxeBuilder({ page }).analyze();
		const found = violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]);
		expect.soft(found, name).toEqual([]);
		await page.screenshot({ path: `${PICTURES}/light/${name}.png` });
	};
	await page.goto('/apps/shop/triggers');
	await page.getByRole('button', { name: 'New trigger' }).click();
	await expect(page.getByRole('listitem').filter({ hasText: /\d{4}/ })).toHaveCount(5);
	await check('trigger-new');
	await page.keyboard.press('Escape');
	await page.goto('/apps/shop/executions?script=mailer&status=error');
	await page
		.getByRole('button', { name: /Details of mailer/ })
		.first()
		.click();
	await expect(page.getByRole('region', { name: /Line 3 of the source/ })).toContainText('throw');
	await check('execution-opened');
	await page.goto('/apps/shop/dead-letters?show=all');
	await page.getByRole('button', { name: /Details of/ }).click();
	await check('dead-letter-opened');
});

test('every page fits a phone', async ({ page, signIn }) => {
	test.slow();
	await page.setViewportSize({ width: 390, height: 844 });
	await signIn();
	for (const [name, address, title] of PAGES) {
		await page.goto(address.replace('EXECUTION', execution));
		await expect(page).toHaveTitle(title);
		await expect(page.getByRole('status', { name: 'Loading' })).toHaveCount(0);
		const width = await page.evaluate(() => document.documentElement.scrollWidth);
		expect.soft(width, `${name} is wider than the screen`).toBeLessThanOrEqual(390);
		await page.screenshot({ path: `${PICTURES}/phone/${name}.png` });
	}
});
