// Users and keys: each can do exactly what its permissions allow.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Browser, Page } from '@playwright/test';
import { expect, type Host, signInAs, test } from './host';

const run = promisify(execFile);
const PASSWORD = 'a password of theirs';

interface Made {
	id: string;
}

/** Invites a user in the dashboard. Returns the invitation link. */
async function invite(page: Page, name: string): Promise<string> {
	await page.goto('/instance/users');
	await page.getByRole('button', { name: 'Invite a user' }).click();
	await page.getByRole('dialog').getByLabel('Name').fill(name);
	await page.getByRole('button', { name: 'Invite', exact: true }).click();
	const dialog = page.getByRole('dialog', { name: `Invitation for ${name}` });
	const link = (await dialog.getByTestId('invitation').textContent()) ?? '';
	await dialog.getByRole('button', { name: 'Done' }).click();
	return link;
}

async function addMember(page: Page, app: string, name: string, role: string) {
	await page.goto(`/apps/${app}/members`);
	await page.getByLabel('Name of the user').fill(name);
	await page.getByLabel('Role of the new member').selectOption(role);
	await page.getByRole('button', { name: 'Add' }).click();
	await expect(page.getByLabel(`Role of ${name}`)).toHaveValue(role);
}

/** Opens a separate browser, in which an invited user sets a password. */
async function acceptedBy(browser: Browser, host: Host, link: string): Promise<Page> {
	const context = await browser.newContext({ baseURL: host.url, ignoreHTTPSErrors: true });
	const page = await context.newPage();
	await page.goto(link);
	await page.getByLabel('New password').fill(PASSWORD);
	await page.getByLabel('Repeat the password').fill(PASSWORD);
	await page.getByRole('button', { name: 'Set password' }).click();
	await expect(page.getByRole('link', { name: 'Account' })).toBeVisible();
	return page;
}

/** Returns the tabs of an app that a user sees. */
async function tabs(page: Page, app: string): Promise<string[]> {
	await page.goto(`/apps/${app}/scripts`);
	const links = page.getByRole('navigation', { name: `Parts of ${app}` }).getByRole('link');
	await expect(links.first()).toBeVisible();
	const texts = await links.allTextContents();
	return texts.map((text) => text.trim().split('\n')[0] ?? '');
}

const EVERYBODY = [
	'Scripts',
	'Routes',
	'Triggers',
	'Queues and topics',
	'Key-value',
	'Files',
	'Executions',
	'Dead letters',
	'Secrets'
];

test('an editor and a viewer see and can do what their roles allow', async ({
	browser,
	page,
	signIn,
	host
}) => {
	test.slow();
	const app = `roles${Date.now()}`;
	await host.api('POST', '/apps', { name: app });
	await host.api('POST', '/apps', { name: `${app}-other` });
	const source = '"first"';
	const script = await host.api<Made>('POST', `/apps/${app}/scripts`, { name: 'hello', source });
	const on = { kind: 'queue', queue: 'work' };
	await host.api('POST', `/apps/${app}/triggers`, { script_id: script.id, on });
	const route = { script_id: script.id, method: 'GET', path: '/hi' };
	await host.api('POST', `/apps/${app}/routes`, route);
	await host.api('PUT', `/apps/${app}/kv/colours/red`, { value: 1 });
	await signIn();
	const [editorName, viewerName] = [`editor${Date.now()}`, `viewer${Date.now()}`];
	const editorLink = await invite(page, editorName);
	const viewerLink = await invite(page, viewerName);
	await addMember(page, app, editorName, 'editor');
	await addMember(page, app, viewerName, 'viewer');

	const viewer = await acceptedBy(browser, host, viewerLink);
	await expect(viewer.getByRole('link', { name: app })).toHaveCount(1);
	await expect(viewer.getByRole('link', { name: `${app}-other` })).toHaveCount(0);
	await expect(viewer.getByRole('link', { name: 'Instance' })).toHaveCount(0);
	await expect(viewer.getByRole('button', { name: 'New app' })).toHaveCount(0);
	expect(await tabs(viewer, app)).toEqual(EVERYBODY);
	/** A viewer sees only buttons that show something. */
	const shows = /^(Copy URL|Theme|▸|▾|Show events|Show|colours|Previous|Next|Refresh|◐|☀|☾)/;
	for (const place of [
		'scripts',
		'routes',
		'triggers',
		'queues',
		'data',
		'files',
		'dead-letters'
	]) {
		await viewer.goto(`/apps/${app}/${place}`);
		await expect(viewer.getByRole('status', { name: 'Loading' })).toHaveCount(0);
		for (const button of await viewer.getByRole('button').all()) {
			const name = (await button.textContent())?.trim() ?? '';
			expect.soft(name, place).toMatch(shows);
		}
	}
	await viewer.goto(`/apps/${app}/scripts/hello`);
	await expect(viewer.getByRole('textbox', { name: 'Source of hello' })).toContainText('first');
	await viewer.getByRole('textbox', { name: 'Source of hello' }).click();
	await viewer.keyboard.type('changed');
	await expect(viewer.getByRole('textbox', { name: 'Source of hello' })).toHaveText(source);
	for (const name of ['Save', 'Delete', 'Run', 'Change description']) {
		await expect(viewer.getByRole('button', { name, exact: true })).toHaveCount(0);
	}
	const refused = await viewer.evaluate(async (id) => {
		const me = await (await fetch('/api/v1/auth/me')).json();
		const headers = { 'X-CSRF-Token': me.csrf_token, 'content-type': 'application/json' };
		const init = { method: 'PUT', headers, body: '{"source":"2"}' };
		return (await fetch(`/api/v1/scripts/${id}`, init)).status;
	}, script.id);
	expect(refused).toBe(403);

	const editor = await acceptedBy(browser, host, editorLink);
	expect(await tabs(editor, app)).toEqual(EVERYBODY);
	await editor.goto(`/apps/${app}/scripts/hello`);
	await editor.getByRole('textbox', { name: 'Source of hello' }).click();
	await editor.keyboard.press('ControlOrMeta+a');
	await editor.keyboard.insertText('"second"');
	await editor.getByRole('button', { name: 'Save', exact: true }).click();
	await expect(editor.getByText('Saved as version 2')).toBeVisible();
	await editor.getByRole('button', { name: 'Run', exact: true }).click();
	await expect(editor.getByText('Result: success.')).toBeVisible();
	await editor.goto(`/apps/${app}/settings`);
	await expect(editor.getByRole('button', { name: `Delete ${app}` })).toHaveCount(0);

	await page.goto(`/apps/${app}/audit`);
	await expect(page.getByRole('row', { name: /update script/ })).toContainText(editorName);
	// The access ends at once.
	await page.goto(`/apps/${app}/members`);
	await page.getByRole('button', { name: `Remove ${viewerName}` }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
	await expect(page.getByLabel(`Role of ${viewerName}`)).toHaveCount(0);
	await viewer.goto(`/apps/${app}/scripts`);
	await expect(viewer.getByRole('alert')).toContainText('there is no such app');
	await viewer.context().close();
	await editor.context().close();
});

test('a secret is set, used, and never shown', async ({ page, signIn, host }) => {
	const app = `secretive${Date.now()}`;
	const value = 'a value that nobody sees';
	await host.api('POST', '/apps', { name: app });
	const source = 'log::info(`read ${secrets::get("TOKEN")}`); secrets::get("TOKEN").len()';
	await host.api('POST', `/apps/${app}/scripts`, { name: 'reader', source });
	await signIn();
	await page.goto(`/apps/${app}/secrets`);
	await page.getByRole('button', { name: 'New secret' }).first().click();
	const dialog = page.getByRole('dialog');
	await dialog.getByLabel('Name').fill('TOKEN');
	await dialog.getByLabel('Value').fill(value);
	await dialog.getByRole('button', { name: 'Set', exact: true }).click();
	await expect(page.getByRole('row', { name: /TOKEN/ })).toBeVisible();
	await page.goto(`/apps/${app}/scripts/reader`);
	await page.getByRole('button', { name: 'Run', exact: true }).click();
	await expect(page.getByText('Result: success.')).toBeVisible();
	for (const place of ['secrets', 'scripts/reader', 'executions', 'audit']) {
		await page.goto(`/apps/${app}/${place}`);
		await expect(page.getByRole('status', { name: 'Loading' })).toHaveCount(0);
		expect(await page.content(), place).not.toContain(value);
	}
	await page.goto(`/apps/${app}/executions`);
	await page
		.getByRole('button', { name: /Details of reader/ })
		.first()
		.click();
	await expect(page.getByText('read ***')).toBeVisible();
	expect(await page.content()).not.toContain(value);
});

test('a route requires a key, and its script responds nowhere else', async ({
	page,
	signIn,
	host
}) => {
	const app = `guarded${Date.now()}`;
	await host.api('POST', '/apps', { name: app });
	await host.api('POST', `/apps/${app}/scripts`, { name: 'hello', source: '"let in"' });
	await host.api('PUT', `/apps/${app}/secrets/PARTNER`, { value: 'key of the partner' });
	await signIn();
	await page.goto(`/apps/${app}/routes`);
	await page.getByRole('button', { name: 'New route' }).first().click();
	const dialog = page.getByRole('dialog');
	await dialog.getByLabel('Path').fill('/orders');
	await dialog.getByLabel('Script', { exact: true }).selectOption({ label: 'hello' });
	await dialog.getByText('Who can call it, and how often').click();
	await dialog.getByLabel('Callers').selectOption('key');
	await dialog.getByLabel('Secrets').fill('PARTNER');
	await dialog.getByLabel('Requests').fill('100');
	await dialog.getByRole('button', { name: 'Create' }).click();
	const row = page.getByRole('row', { name: /orders/ });
	await expect(row).toContainText('key');
	await expect(row).toContainText('100 in 60 s');
	const status = async (path: string, headers = {}) =>
		(await page.request.get(`/x/${app}${path}`, { headers })).status();
	expect(await status('/orders')).toBe(401);
	expect(await status('/orders', { 'x-api-key': 'key of the partner' })).toBe(200);
	expect(await status('/hello')).toBe(404);
	await page.getByRole('button', { name: 'Change GET /orders' }).click();
	await expect(dialog.getByLabel('Secrets')).toHaveValue('PARTNER');
	await dialog.getByLabel('Callers').selectOption('none');
	await dialog.getByRole('button', { name: 'Save' }).click();
	await expect(row).not.toContainText('key');
	expect(await status('/orders')).toBe(200);
	expect(await status('/hello')).toBe(200);
});

test('a key is created, used by curl, revoked and refused', async ({ page, signIn, host }) => {
	const app = `keyed${Date.now()}`;
	await host.api('POST', '/apps', { name: app });
	await signIn();
	await page.goto('/account');
	await page.getByRole('button', { name: 'New key' }).first().click();
	const dialog = page.getByRole('dialog');
	await dialog.getByLabel('Name').fill(`from ${app}`);
	await dialog.getByLabel('App', { exact: true }).fill(app);
	await dialog.getByRole('button', { name: 'Create' }).click();
	const key = (await dialog.getByTestId('key').textContent()) ?? '';
	expect(key).toMatch(/^pck_[0-9a-f]{12}_[0-9a-f]{72}$/);
	await dialog.getByRole('button', { name: 'Done' }).click();
	const call = async (path: string) => {
		const header = `Authorization: Bearer ${key}`;
		const args = ['-ks', '-o', '/dev/null', '-w', '%{http_code}', '-H', header];
		return (await run('curl', [...args, `${host.url}/api/v1${path}`])).stdout;
	};
	expect(await call(`/apps/${app}`)).toBe('200');
	expect(await call(`/apps/${app}/executions`)).toBe('403');
	expect(await call('/instance')).toBe('403');
	const row = page.getByRole('row', { name: new RegExp(`from ${app}`) });
	await expect(row).toContainText(key.slice(0, 16));
	await expect(row).not.toContainText(key.slice(0, 20));
	await page.getByRole('button', { name: `Revoke from ${app}` }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
	await expect(row).toHaveCount(0);
	expect(await call(`/apps/${app}`)).toBe('401');
});

test('an invited user links an identity and signs in by the provider', async ({
	browser,
	page,
	signIn,
	host
}) => {
	const name = `linked${Date.now()}`;
	await signIn();
	const link = await invite(page, name);
	const context = await browser.newContext({ baseURL: host.url, ignoreHTTPSErrors: true });
	const theirs = await context.newPage();
	const throughProvider = async (login: string) => {
		await theirs.getByRole('button', { name: 'Sign in with the test provider' }).click();
		await theirs.getByPlaceholder('Enter any login').fill(login);
		await theirs.getByPlaceholder('and password').fill('anything');
		await theirs.getByRole('button', { name: 'Sign-in' }).click();
		await theirs.getByRole('button', { name: 'Continue' }).click();
	};
	await theirs.goto(link);
	await throughProvider(name);
	await expect(theirs.getByRole('link', { name: 'Account' })).toBeVisible();
	await theirs.goto('/account');
	await expect(theirs.getByRole('heading', { level: 1 })).toHaveText(name);

	await theirs.getByRole('link', { name: 'Sign out', exact: true }).click();
	await expect(theirs).toHaveTitle(/Sign in/);
	await theirs.goto('/account');
	await theirs.getByRole('button', { name: 'Sign in with the test provider' }).click();
	// The provider knows the user already, and leads back to the requested page.
	await expect(theirs).toHaveURL('/account');
	await expect(theirs.getByRole('heading', { level: 1 })).toHaveText(name);
	await context.close();

	const stranger = await browser.newContext({ baseURL: host.url, ignoreHTTPSErrors: true });
	const other = await stranger.newPage();
	await other.goto('/');
	await other.getByRole('button', { name: 'Sign in with the test provider' }).click();
	await other.getByPlaceholder('Enter any login').fill('a stranger');
	await other.getByPlaceholder('and password').fill('anything');
	await other.getByRole('button', { name: 'Sign-in' }).click();
	await other.getByRole('button', { name: 'Continue' }).click();
	await expect(other.getByRole('alert')).toContainText('Ask for an invitation');
	await stranger.close();
});

test('a changed password signs out every other browser', async ({
	browser,
	page,
	signIn,
	host
}) => {
	const name = `changing${Date.now()}`;
	await signIn();
	const link = await invite(page, name);
	const one = await acceptedBy(browser, host, link);
	const context = await browser.newContext({ baseURL: host.url, ignoreHTTPSErrors: true });
	const two = await context.newPage();
	await two.goto('/account');
	await signInAs(two, name, PASSWORD);
	await expect(two.getByRole('heading', { level: 1 })).toHaveText(name);
	await one.goto('/account');
	await one.getByLabel('Current password').fill(PASSWORD);
	await one.getByLabel('New password').fill('another password');
	await one.getByLabel('Repeat the password').fill('another password');
	await one.getByRole('button', { name: 'Change password' }).click();
	await expect(one.getByText(/All other browsers are signed out/)).toBeVisible();
	await two.reload();
	await expect(two).toHaveTitle(/Sign in/);
	await signInAs(two, name, PASSWORD);
	await expect(two.getByRole('alert')).toContainText('password');
	await signInAs(two, name, 'another password');
	await expect(two.getByRole('heading', { level: 1 })).toHaveText(name);
	await one.context().close();
	await context.close();
});
