// The test panel: it runs a script with requests and events.

import type { Page } from '@playwright/test';
import { expect, type Host, test } from './host';

const SOURCE = `if ctx.event != () { return ctx.event.kind; }
if ctx.request.query.bad != () { throw "as asked"; }
if ctx.request.method == "PUT" { return #{ headers: #{ "content-type": "image/png" }, body: ctx.request.raw }; }
log::info("asked", #{ visits: kv::collection("visits").increment("all") });
#{ method: ctx.request.method, body: ctx.request.body, query: ctx.request.query }
`;

/** An image of one pixel. */
const IMAGE =
	'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

let count = 0;

/** Creates a script in a new app, and opens its page. */
async function openScript(page: Page, host: Host) {
	const app = `test${Date.now()}x${count++}`;
	await host.api('POST', '/apps', { name: app });
	await host.api('POST', `/apps/${app}/scripts`, { name: 'hello', source: SOURCE });
	await page.goto(`/apps/${app}/scripts/hello`);
	await page.getByRole('textbox', { name: 'Source of hello' }).waitFor();
	return { app, run: page.getByRole('button', { name: 'Run', exact: true }) };
}

test.beforeEach(async ({ signIn }) => signIn());

test('a request is sent, and its response, log and resource use are shown', async ({
	page,
	host
}) => {
	const { app, run } = await openScript(page, host);
	await page.getByLabel('Method').selectOption('POST');
	await page.getByLabel('Query').fill('name=Ada');
	await page.getByLabel('JSON').check();
	await page.getByRole('textbox', { name: 'JSON' }).fill('{"item": ');
	await run.click();
	await expect(page.getByRole('alert')).toContainText('This is not JSON');
	await page.getByRole('textbox', { name: 'JSON' }).fill(`{"item": "O'Hara"}`);
	await run.click();
	const body = page.getByRole('region', { name: 'Response body' });
	await expect(body).toContainText(`"item": "O'Hara"`);
	await expect(body).toContainText('"name": "Ada"');
	const shown = page.getByRole('region', { name: 'The run' });
	await expect(shown.getByText('{"visits":1}')).toBeVisible();
	await expect(shown.getByText('of 800 M')).toBeVisible();
	await shown.getByRole('link', { name: 'View the execution' }).click();
	await expect(page).toHaveURL(new RegExp(`/apps/${app}/executions/`));
});

test('a request is copied as a command line', async ({ page, host }) => {
	const { app } = await openScript(page, host);
	await page.getByLabel('Method').selectOption('POST');
	await page.getByLabel('JSON').check();
	await page.getByRole('textbox', { name: 'JSON' }).fill(`{"item": "O'Hara"}`);
	await page.getByRole('button', { name: 'Copy as curl' }).click();
	const command = await page.evaluate(() => navigator.clipboard.readText());
	expect(command).toContain(`/x/${app}/hello`);
	expect(command).toContain(String.raw`'{"item": "O'\''Hara"}'`);
});

test('a failure is marked in the source, and links to its line', async ({ page, host }) => {
	const { run } = await openScript(page, host);
	await page.getByLabel('Query').fill('bad=1');
	await run.click();
	await expect(page.locator('.cm-failed')).toContainText('throw "as asked"');
	await page.getByRole('button', { name: /Line 2, column \d+/ }).click();
	await expect(page.getByRole('textbox', { name: 'Source of hello' })).toBeFocused();
});

test('a file is sent, and an image is shown', async ({ page, host }) => {
	const { run } = await openScript(page, host);
	await page.getByLabel('Method').selectOption('PUT');
	await page.getByRole('radio', { name: 'File' }).check();
	await page.locator('input[type=file]').setInputFiles({
		name: 'pixel.png',
		mimeType: 'image/png',
		buffer: Buffer.from(IMAGE, 'base64')
	});
	await run.click();
	const image = page.getByRole('img', { name: 'Response body' });
	await expect(image).toHaveJSProperty('naturalWidth', 1);
});

test('an event is written or taken from the captured ones', async ({ page, host }) => {
	const { app, run } = await openScript(page, host);
	await page.getByLabel('An event').check();
	await page.getByLabel('Kind', { exact: true }).selectOption('cron');
	await page.getByRole('button', { name: 'Insert an example' }).click();
	await run.click();
	const body = page.getByRole('region', { name: 'Response body' });
	await expect(body).toHaveText('"cron"');

	const event = { script: 'hello', payload: { order: 7 } };
	await host.api('POST', `/apps/${app}/events`, event);
	await page.getByLabel('Kind', { exact: true }).selectOption('script');
	const captured = page.getByLabel('A captured script event of the app');
	await expect(async () => {
		await captured.blur();
		await captured.focus();
		await expect(captured.locator('option')).toHaveCount(2, { timeout: 500 });
	}).toPass();
	await captured.selectOption({ index: 1 });
	await expect(page.getByRole('textbox', { name: /^Event/ })).toHaveValue(/"order": 7/);
	await run.click();
	await expect(body).toHaveText('"script"');
});

test('requests are stored in the browser until they are cleared', async ({ page, host }) => {
	const { run } = await openScript(page, host);
	await page.getByLabel('Query').fill('a=1');
	await page.getByRole('button', { name: 'Add a header' }).click();
	await page.getByLabel('Name of header 1').fill('authorization');
	await page.getByLabel('Value of header 1').fill('Bearer secret');
	await run.click();
	await page.getByText('Result: success.').waitFor();
	await page.reload();
	await page.getByLabel('Recent requests').selectOption({ index: 1 });
	await expect(page.getByLabel('Query')).toHaveValue('a=1');
	await expect(page.getByLabel('Value of header 1')).toHaveValue('');
	expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain('secret');
	await page.getByRole('button', { name: 'Clear recent requests' }).click();
	await expect(page.getByLabel('Recent requests')).toBeHidden();
});

test('unsaved changes are saved first, or do not run', async ({ page, host }) => {
	const { run } = await openScript(page, host);
	await page.getByRole('textbox', { name: 'Source of hello' }).click();
	await page.keyboard.press('ControlOrMeta+a');
	await page.keyboard.type('"new"');
	await expect(run).toBeHidden();
	await page.getByRole('button', { name: 'Run version 1' }).click();
	const body = page.getByRole('region', { name: 'Response body' });
	await expect(body).toContainText('"method"');
	await page.getByRole('button', { name: 'Save and run' }).click();
	await expect(body).toHaveText('"new"');
	await expect(page.getByText('Saved as version 2')).toBeVisible();
});
