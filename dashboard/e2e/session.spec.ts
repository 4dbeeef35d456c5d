// A session that is over while somebody works.

import { expect, signInAs, test } from './host';

test('what was typed is not lost, and is sent after signing in again', async ({
	page,
	signIn,
	host
}) => {
	const name = `expiring${Date.now()}`;
	await host.api('POST', '/apps', { name });
	await signIn();
	await page.goto(`/apps/${name}/settings`);
	await page.getByLabel('Description').fill('typed before it was over');
	await page.context().clearCookies();
	await page.getByRole('button', { name: 'Save', exact: true }).click();
	const dialog = page.getByRole('dialog', { name: 'Your session is over' });
	await expect(dialog).toBeVisible();
	await page.keyboard.press('Escape');
	await expect(dialog).toBeVisible();
	await expect(dialog.getByLabel('Name', { exact: true })).toHaveValue('admin');
	await signInAs(dialog, 'admin', host.password);
	await expect(dialog).toHaveCount(0);
	await expect(page.getByText('Saved', { exact: true })).toBeVisible();
	const app = await host.api<{ description: string }>('GET', `/apps/${name}`);
	expect(app.description).toBe('typed before it was over');
});

test('signing out asks before what was typed is lost', async ({ page, signIn, host }) => {
	const name = `leaving${Date.now()}`;
	await host.api('POST', '/apps', { name });
	await host.api('POST', `/apps/${name}/scripts`, { name: 'draft', source: '1' });
	await signIn();
	await page.goto(`/apps/${name}/scripts/draft`);
	await page.getByRole('textbox', { name: 'Source of draft' }).click();
	await page.keyboard.type('// typed');
	await page.getByRole('link', { name: 'Sign out', exact: true }).click();
	const dialog = page.getByRole('dialog', { name: 'Leave without saving?' });
	await dialog.getByRole('button', { name: 'Stay' }).click();
	await expect(page.getByRole('textbox', { name: 'Source of draft' })).toContainText('typed');
	await page.getByRole('link', { name: 'Sign out', exact: true }).click();
	await dialog.getByRole('button', { name: 'Leave and lose them' }).click();
	await expect(page).toHaveTitle(/Sign in/);
	await expect(page).toHaveURL('/');
});

test('another site can change nothing with the cookie', async ({ page, signIn, host }) => {
	await signIn();
	const forged = await page.evaluate(async () => {
		const answer = await fetch('/api/v1/apps', {
			method: 'POST',
			headers: { 'content-type': 'application/json' },
			body: '{"name":"forged"}'
		});
		return [answer.status, (await answer.json()).error.code];
	});
	expect(forged).toEqual([403, 'csrf_token_missing']);
	const apps = await host.api<{ items: { name: string }[] }>('GET', '/apps?limit=200');
	expect(apps.items.map((app) => app.name)).not.toContain('forged');
});
