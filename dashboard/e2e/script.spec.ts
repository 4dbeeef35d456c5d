// The page of a script: editing, saving, versions, limits.

import type { Page } from '@playwright/test';
import { expect, type Host, signInAs, test } from './host';

let count = 0;

/** Creates a script in a new app, and opens its page. */
async function openScript(page: Page, host: Host, source: string) {
	const app = `page${Date.now()}x${count++}`;
	await host.api('POST', '/apps', { name: app });
	const script = await host.api('POST', `/apps/${app}/scripts`, { name: 'hello', source });
	await page.goto(`/apps/${app}/scripts/hello`);
	const editor = page.getByRole('textbox', { name: 'Source of hello' });
	await editor.waitFor();
	return { app, editor, id: script.id as string };
}

test.beforeEach(async ({ signIn }) => signIn());

test('a script is edited, and saved with the keyboard', async ({ page, host }) => {
	const { app, editor } = await openScript(page, host, '"before"');
	await editor.click();
	await page.keyboard.press('ControlOrMeta+a');
	await page.keyboard.type('"after"');
	await expect(page.getByText('Not saved yet')).toBeVisible();
	await page.keyboard.press('ControlOrMeta+s');
	await expect(page.getByText('Saved as version 2')).toBeVisible();
	expect(await (await page.request.get(`/x/${app}/hello`)).json()).toBe('after');
});

test('a syntax error is marked while typing, and again when saving', async ({ page, host }) => {
	const { editor } = await openScript(page, host, 'let a = 1;\n');
	await editor.click();
	await page.keyboard.press('ControlOrMeta+End');
	await page.keyboard.type('let b = a +;');
	await expect(page.locator('.cm-lint-marker-error')).toHaveCount(1);
	await page.keyboard.press('ControlOrMeta+s');
	await expect(page.getByRole('alert')).toContainText("Unexpected ';'");
	await expect(page.getByText('Not saved yet')).toBeVisible();
});

test('functions are completed and explained', async ({ page, host }) => {
	await page.clock.install();
	const { editor } = await openScript(page, host, 'let users = kv::collection("users");\n');
	await editor.click();
	await page.keyboard.press('ControlOrMeta+End');
	await page.keyboard.type('users.inc');
	const offered = page.getByRole('listbox', { name: 'Completions' });
	await expect(offered.getByRole('option')).toHaveText([/^increment/]);
	await expect(page.locator('.cm-completionInfo')).toContainText('Adds 1 to a number');
	// The editor ignores a key right after the list appears, because the user may still be typing.
	await page.clock.fastForward(1_000);
	await page.keyboard.press('Tab');
	await expect(editor).toContainText('users.increment(key)');
	// The first argument is selected, so that typing replaces it.
	await page.keyboard.type('"ada"');
	await expect(editor).toContainText('users.increment("ada")');
	await page.getByText('collection', { exact: true }).hover();
	await expect(page.locator('.cm-tooltip-hover')).toContainText('kv::collection(name: text)');
});

test('tab indents, and escape and tab leave the editor', async ({ page, host }) => {
	const { editor } = await openScript(page, host, '1');
	await editor.click();
	await page.keyboard.press('Tab');
	await expect(editor).toBeFocused();
	await page.keyboard.press('Escape');
	await page.keyboard.press('Tab');
	await expect(editor).not.toBeFocused();
	expect(await editor.getAttribute('aria-description')).toContain('Escape and then Tab');
});

test('a script that another user saved in the meantime is not overwritten', async ({
	page,
	host
}) => {
	const { app, editor, id } = await openScript(page, host, '"mine"');
	await host.api('PUT', `/scripts/${id}`, { source: '"theirs"' });
	await editor.click();
	await page.keyboard.press('ControlOrMeta+End');
	await page.keyboard.type(' + "!"');
	await page.keyboard.press('ControlOrMeta+s');
	const dialog = page.getByRole('dialog', { name: 'The script has changed' });
	await expect(dialog.getByRole('textbox', { name: 'Theirs, version 2' })).toHaveText('"theirs"');
	await dialog.getByRole('button', { name: 'Keep editing' }).click();
	await expect(editor).toHaveText('"mine" + "!"');
	await page.getByRole('button', { name: 'Save', exact: true }).click();
	await dialog.getByRole('button', { name: 'Save mine as a new version' }).click();
	await expect(page.getByText('Saved as version 3')).toBeVisible();
	expect(await (await page.request.get(`/x/${app}/hello`)).json()).toBe('mine!');

	await host.api('PUT', `/scripts/${id}`, { source: '"theirs again"' });
	await editor.click();
	await page.keyboard.type('// ');
	await page.keyboard.press('ControlOrMeta+s');
	await dialog.getByRole('button', { name: 'Load theirs' }).click();
	await expect(editor).toHaveText('"theirs again"');
	await expect(page.getByText('Saved as version 4')).toBeVisible();
});

test('the typed source stays when the page is left, and when the session ends', async ({
	page,
	host,
	context
}) => {
	const { app, editor } = await openScript(page, host, '"before"');
	await editor.click();
	await page.keyboard.press('ControlOrMeta+a');
	await page.keyboard.type('"typed"');
	await page.getByRole('link', { name: 'Versions' }).click();
	await expect(page).toHaveURL(/tab=versions/);
	await page.getByRole('link', { name: 'Routes' }).click();
	const dialog = page.getByRole('dialog', { name: 'Leave without saving?' });
	await dialog.getByRole('button', { name: 'Stay' }).click();
	await page.getByRole('link', { name: 'Edit and test' }).click();
	await expect(editor).toHaveText('"typed"');

	await context.clearCookies();
	await page.getByRole('button', { name: 'Save', exact: true }).click();
	await signInAs(page.getByRole('dialog'), 'admin', host.password);
	await expect(page.getByText('Saved as version 2')).toBeVisible();
	expect(await (await page.request.get(`/x/${app}/hello`)).json()).toBe('typed');
});

test('versions are compared, and an older one is run again', async ({ page, host }) => {
	const { app, id } = await openScript(page, host, '"first"');
	await host.api('PUT', `/scripts/${id}`, { source: '"second"' });
	await host.api('PUT', `/scripts/${id}`, { source: '"third"' });
	await page.goto(`/apps/${app}/scripts/hello?tab=versions`);
	await expect(page.getByRole('textbox', { name: 'Version 2' })).toHaveText('"second"');
	await page.getByRole('radio', { name: 'from version 1' }).check();
	await expect(page.getByRole('textbox', { name: 'Version 1' })).toHaveText('"first"');
	await expect(page.getByRole('textbox', { name: 'Version 3' })).toHaveText('"third"');
	await page.getByRole('button', { name: 'Run version 1' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Run version 1' }).click();
	await expect(page.getByRole('row', { name: '1 active' })).toBeVisible();
	expect(await (await page.request.get(`/x/${app}/hello`)).json()).toBe('first');
});

test('limits are shown beside the use of runs, and refused at their field', async ({
	page,
	host
}) => {
	const { app } = await openScript(page, host, '1');
	await page.request.get(`/x/${app}/hello`);
	await page.getByRole('link', { name: 'Limits' }).click();
	await expect(page.getByText('Used by the last run.')).toBeVisible();
	const fuel = page.getByLabel('Fuel');
	await fuel.fill('99000');
	await page.getByRole('button', { name: 'Save limits' }).click();
	await expect(fuel).toHaveAccessibleDescription(/is 99000000000, but must be/);
	await fuel.fill('900');
	await page.getByRole('button', { name: 'Save limits' }).click();
	await expect(page.getByText('Saved. The limits apply from the next run.')).toBeVisible();
	const scripts = await host.api('GET', `/apps/${app}/scripts`);
	expect(scripts.items[0].limits.fuel_max).toBe(900_000_000);
});

test('a script is described, and deleted when its name is typed', async ({ page, host }) => {
	const { app } = await openScript(page, host, '1');
	await page.getByRole('button', { name: 'Change description' }).click();
	await page.getByLabel('Description').fill('Greets.');
	await page.keyboard.press('Enter');
	await expect(page.getByText('Greets.')).toBeVisible();
	await page.getByRole('button', { name: 'Delete' }).click();
	const dialog = page.getByRole('dialog');
	await expect(dialog.getByRole('button', { name: 'Delete' })).toBeDisabled();
	await dialog.getByLabel('Type hello to confirm').fill('hello');
	await dialog.getByRole('button', { name: 'Delete' }).click();
	await expect(page).toHaveURL(new RegExp(`/apps/${app}/scripts$`));
	expect((await host.api('GET', `/apps/${app}/scripts`)).items).toEqual([]);
});
