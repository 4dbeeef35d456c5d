// The server is down for a while.

import { expect, test } from './host';

test('a page reports that the server is down, and continues when it is back', async ({
	page,
	signIn,
	host
}) => {
	const name = `outage${Date.now()}`;
	await host.api('POST', '/apps', { name });
	await host.api('POST', `/apps/${name}/scripts`, { name: 'hello', source: '1' });
	await signIn();
	await page.goto(`/apps/${name}/scripts`);
	await expect(page.getByRole('link', { name: 'hello', exact: true })).toBeVisible();
	await host.stop();
	// The code of this page is not loaded yet. The second time it is.
	await page.getByRole('link', { name: 'Executions' }).click();
	await expect(page.getByRole('alert')).toContainText('The server cannot be reached');
	await expect(page.getByText('Internal Error')).toHaveCount(0);
	await expect(page).not.toHaveTitle(/Not found/);
	await host.restart();
	await expect(page.getByRole('heading', { name: 'Executions' })).toBeVisible();
	await expect(page.getByText('No executions found')).toBeVisible();
	await expect(page.getByText('The server cannot be reached')).toHaveCount(0);

	// A page whose code is loaded waits for its data.
	await page.getByRole('link', { name: 'Scripts' }).click();
	await expect(page.getByRole('link', { name: 'hello', exact: true })).toBeVisible();
	await host.stop();
	await page.getByRole('link', { name: 'Executions' }).click();
	await expect(page.getByRole('alert')).toContainText('The server cannot be reached');
	await host.restart();
	await expect(page.getByText('No executions found')).toBeVisible();
	await expect(page.getByText('The server cannot be reached')).toHaveCount(0);
});

test('a change that could not be sent is not lost, and is not sent twice', async ({
	page,
	signIn,
	host
}) => {
	const name = `unsent${Date.now()}`;
	await host.api('POST', '/apps', { name });
	await signIn();
	await page.goto(`/apps/${name}/settings`);
	await page.getByLabel('Description').fill('typed while it was down');
	await host.stop();
	await page.getByRole('button', { name: 'Save', exact: true }).click();
	await expect(page.getByText('Is it running?')).toBeVisible();
	await host.restart();
	await expect(page.getByLabel('Description')).toHaveValue('typed while it was down');
	await page.getByRole('button', { name: 'Save', exact: true }).click();
	await expect(page.getByText('Saved', { exact: true })).toBeVisible();
});
