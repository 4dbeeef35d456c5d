// Dialogs and the editor with only the keyboard.

import type { Page } from '@playwright/test';
import { expect, test } from './host';

const APP = 'keyboard';

test.beforeAll(async ({ host }) => {
	await host.api('POST', '/apps', { name: APP });
	await host.api('POST', `/apps/${APP}/scripts`, { name: 'hello', source: '"hello"' });
	const failing = { name: 'failing', source: 'throw "no"' };
	const { id } = await host.api<{ id: string }>('POST', `/apps/${APP}/scripts`, failing);
	await host.api('POST', `/apps/${APP}/triggers`, {
		script_id: id,
		on: { kind: 'queue', queue: 'work' },
		retry: { attempts_max: 1 }
	});
	await host.api('POST', `/apps/${APP}/routes`, { script_id: id, method: 'GET', path: '/hi' });
	await host.api('PUT', `/apps/${APP}/secrets/TOKEN`, { value: 'of the tests' });
	await host.api('PUT', `/apps/${APP}/kv/colours/red`, { value: 1 });
	await host.api('POST', `/apps/${APP}/events`, { queue: 'work', payload: {} });
	await expect
		.poll(() => host.api('GET', `/apps/${APP}/dead-letters/count`), { timeout: 30_000 })
		.toEqual({ count: 1 });
});

/** Opens a dialog with Enter on its button. */
async function open(page: Page, button: string | RegExp) {
	const opener = page.getByRole('button', { name: button, exact: typeof button === 'string' });
	await opener.first().focus();
	await page.keyboard.press('Enter');
	const dialog = page.getByRole('dialog');
	await expect(dialog).toBeVisible();
	return { opener: opener.first(), dialog };
}

test('an app is created without the mouse', async ({ page, signIn }) => {
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

test('every dialog has the focus in its first field, and gives it back', async ({
	page,
	signIn
}) => {
	test.slow();
	await signIn();
	for (const [address, button, field] of [
		['/', 'New app', 'Name'],
		[`/apps/${APP}/scripts`, 'New script', 'Name'],
		[`/apps/${APP}/scripts/hello`, 'Delete', 'Type hello to confirm'],
		[`/apps/${APP}/routes`, 'New route', 'Method'],
		[`/apps/${APP}/routes`, 'Change GET /hi', 'Script'],
		[`/apps/${APP}/triggers`, 'New trigger', 'Fires on'],
		[`/apps/${APP}/triggers`, 'Change: Queue work', 'Runs the script'],
		[`/apps/${APP}/triggers`, 'Fire now: Queue work', 'Details of the event (JSON)'],
		[`/apps/${APP}/queues`, 'Send a message', 'Target'],
		// The collection that is shown is filled in already.
		[`/apps/${APP}/data`, 'New key', 'Key'],
		[`/apps/${APP}/data`, 'Change red', 'Value (JSON)'],
		[`/apps/${APP}/files`, 'Upload', 'File'],
		[`/apps/${APP}/dead-letters`, /^Replay queue work/, 'The newest version: 1'],
		[`/apps/${APP}/secrets`, 'New secret', 'Name'],
		[`/apps/${APP}/secrets`, 'Set TOKEN', 'Value'],
		[`/apps/${APP}/secrets`, 'Delete TOKEN', 'Type TOKEN to confirm'],
		[`/apps/${APP}/settings`, `Delete ${APP}`, `Type ${APP} to confirm`],
		['/instance/users', 'Invite a user', 'Name'],
		['/account', 'New key', 'Name']
	] as const) {
		await page.goto(address);
		const { opener, dialog } = await open(page, button);
		await expect(dialog.getByLabel(field, { exact: true }), String(button)).toBeFocused();
		await page.keyboard.press('Escape');
		await expect(dialog).toHaveCount(0);
		await expect(opener, String(button)).toBeFocused();
	}
});

test('a dialog that follows another one gives the focus back to the first button', async ({
	page,
	signIn
}) => {
	await signIn();
	await page.goto('/instance/users');
	const { opener, dialog } = await open(page, 'Invite a user');
	await page.keyboard.type('invited-by-hand');
	await page.keyboard.press('Enter');
	await expect(dialog.getByRole('button', { name: 'Done' })).toBeFocused();
	await page.keyboard.press('Enter');
	await expect(dialog).toHaveCount(0);
	await expect(opener).toBeFocused();
});

test('Control and Enter save from a text of several lines', async ({ page, signIn, host }) => {
	await signIn();
	await page.goto(`/apps/${APP}/data`);
	const { dialog } = await open(page, 'Change red');
	await page.keyboard.press('ControlOrMeta+a');
	await page.keyboard.type('2');
	await page.keyboard.press('ControlOrMeta+Enter');
	await expect(dialog).toHaveCount(0);
	expect(await host.api('GET', `/apps/${APP}/kv/colours/red`)).toMatchObject({ value: 2 });
});

test('Enter confirms a dialog without fields', async ({ page, signIn, host }) => {
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
	const byName = `/apps/${APP}/scripts?name=hello`;
	const { items } = await host.api<{ items: { id: string }[] }>('GET', byName);
	const script = await host.api<{ source: string }>('GET', `/scripts/${items[0]!.id}`);
	expect(script.source).toBe('"run by keys"');
});
