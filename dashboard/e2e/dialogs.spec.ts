// Dialogs and the editor by the keyboard alone.

import type { Page } from '@playwright/test';
import { expect, test } from './host';

const APP = 'keyboard';

test.beforeAll(async ({ host }) => {
	await host.api('POST', '/apps', { name: APP });
	await host.api('POST', `/apps/${APP}/scripts`, { name: 'hello', source: '"hello"' });
	await host.api('PUT', `/apps/${APP}/kv/colours/red`, { value: 1 });
});

/** Opens a dialog by Enter on its button. */
async function open(page: Page, button: string | RegExp) {
	const opener = page.getByRole('button', { name: button, exact: typeof button === 'string' });
	await opener.first().focus();
	await page.keyboard.press('Enter');
	const dialog = page.getByRole('dialog');
	await expect(dialog).toBeVisible();
	return { opener: opener.first(), dialog };
}

test('an app is made without the mouse', async ({ page, signIn }) => {
	await signIn();
	const { opener, dialog } = await open(page, 'New app');
	await expect(dialog.getByLabel('Name')).toBeFocused();
	await page.keyboard.press('Escape');
	await expect(dialog).toHaveCount(0);
	await expect(opener).toBeFocused();
	await page.keyboard.press('Enter');
	await page.keyboard.type('by-hand');
	await page.keyboard.press('Enter');
	await expect(page).toHaveURL('/apps/by-hand/scripts');
});

test('every form has the focus in its first field, and gives it back', async ({ page, signIn }) => {
	await signIn();
	for (const [address, button, field] of [
		[`/apps/${APP}/scripts`, 'New script', 'Name'],
		[`/apps/${APP}/routes`, 'New route', undefined],
		[`/apps/${APP}/triggers`, 'New trigger', undefined],
		[`/apps/${APP}/queues`, 'Send a message', 'To a'],
		[`/apps/${APP}/data`, 'New key', 'Key'],
		[`/apps/${APP}/data`, 'Change red', 'Value (JSON)'],
		[`/apps/${APP}/files`, 'Upload', 'File'],
		[`/apps/${APP}/secrets`, 'New secret', 'Name'],
		['/instance/users', 'Invite somebody', 'Name'],
		['/account', 'New key', 'Name']
	] as const) {
		await page.goto(address);
		const { opener, dialog } = await open(page, button);
		if (field) await expect(dialog.getByLabel(field, { exact: true })).toBeFocused();
		const focused = dialog.locator(':is(input, select, textarea):focus');
		await expect(focused, button).toHaveCount(1);
		await page.keyboard.press('Escape');
		await expect(dialog).toHaveCount(0);
		await expect(opener, button).toBeFocused();
	}
});

test('Control and Enter save from a text of many lines', async ({ page, signIn, host }) => {
	await signIn();
	await page.goto(`/apps/${APP}/data`);
	const { dialog } = await open(page, 'Change red');
	await page.keyboard.press('ControlOrMeta+a');
	await page.keyboard.type('2');
	await page.keyboard.press('ControlOrMeta+Enter');
	await expect(dialog).toHaveCount(0);
	expect(await host.api('GET', `/apps/${APP}/kv/colours/red`)).toMatchObject({ value: 2 });
});

test('Enter does what a question without fields asks', async ({ page, signIn, host }) => {
	await host.api('PUT', `/apps/${APP}/kv/colours/blue`, { value: 1 });
	await signIn();
	await page.goto(`/apps/${APP}/data`);
	const { dialog } = await open(page, 'Delete blue');
	await expect(dialog.getByRole('button', { name: 'Delete', exact: true })).toBeFocused();
	await page.keyboard.press('Enter');
	await expect(dialog).toHaveCount(0);
	await expect(page.getByText('blue', { exact: true })).toHaveCount(0);
});

test('Control and Enter in the editor save and run the script', async ({ page, signIn, host }) => {
	await signIn();
	await page.goto(`/apps/${APP}/scripts/hello`);
	const editor = page.getByRole('textbox', { name: 'Source of hello' });
	await editor.click();
	await page.keyboard.press('ControlOrMeta+a');
	await page.keyboard.type('"run by keys"');
	await page.keyboard.press('ControlOrMeta+Enter');
	const run = page.getByRole('region', { name: 'The run' });
	await expect(run).toContainText('run by keys');
	await expect(page.getByText('Saved as version 2')).toBeVisible();
	const { items } = await host.api<{ items: { id: string }[] }>('GET', `/apps/${APP}/scripts`);
	const script = await host.api<{ source: string }>('GET', `/scripts/${items[0]!.id}`);
	expect(script.source).toBe('"run by keys"');
});
