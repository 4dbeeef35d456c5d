// The first hour of a new owner, starting with an empty server. Each step needs the previous ones.

import type { Page } from '@playwright/test';
import { expect, signInAs, test } from './host';

const ORDERS = `let order = ctx.request.body;
kv::collection("orders").set(order.id, order);
#{ status: 201, body: #{ accepted: order.id } }
`;
const CHECK = `let order = ctx.event.kv.value;
if order.total < 0 { throw \`the order \${order.id} has a negative total\`; }
kv::collection("checked").set(order.id, order.total);
`;

/** Replaces the source in the editor. */
async function write(page: Page, source: string) {
	const editor = page.getByRole('textbox', { name: /Source of/ });
	await editor.click();
	await page.keyboard.press('ControlOrMeta+a');
	// Inserted as a whole, because the editor closes brackets and indents typed text.
	await page.keyboard.insertText(source);
}

async function createScript(page: Page, app: string, name: string) {
	await page.goto(`/apps/${app}/scripts`);
	await page.getByRole('button', { name: 'New script' }).first().click();
	const dialog = page.getByRole('dialog', { name: 'New script' });
	await dialog.getByLabel('Name').fill(name);
	await dialog.getByLabel('Start from').selectOption({ label: 'An empty script' });
	await dialog.getByRole('button', { name: 'Create' }).click();
	await expect(page).toHaveURL(`/apps/${app}/scripts/${name}`);
}

async function save(page: Page, version: number) {
	await page.getByRole('button', { name: 'Save', exact: true }).click();
	await expect(page.getByText(`Saved as version ${version}`)).toBeVisible();
}

const tab = (page: Page, name: RegExp) =>
	page.getByRole('navigation', { name: /Parts of/ }).getByRole('link', { name });

test.describe.configure({ mode: 'serial' });

test('from the sign-in to the response of a first script', async ({ page, host }) => {
	await page.goto('/apps/demo/scripts/hello');
	await expect(page).toHaveTitle(/Sign in/);
	await signInAs(page, 'admin', 'not the password');
	await expect(page.getByRole('alert')).toContainText(/password/);
	await signInAs(page, 'admin', host.password);
	// The requested page, whose app does not exist yet.
	await expect(page.getByRole('alert').first()).toContainText('app');
	await page.getByRole('link', { name: 'Apps', exact: true }).first().click();
	await page.getByRole('button', { name: 'Deploy and call it' }).click();
	await expect(page.getByRole('heading', { name: 'The script responds' })).toBeVisible();
	await expect(page.getByRole('region', { name: 'Response' })).toHaveText(
		'{"message":"Hello, Ada!"}'
	);
	await page.getByRole('link', { name: 'See the execution' }).click();
	await expect(page.getByRole('cell', { name: 'success 200' })).toBeVisible();

	// Scripts of the page cannot read any credential.
	const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, document.cookie]));
	expect(kept).not.toContain(host.password);
	const [cookie] = await page.context().cookies(`${host.url}/api/v1/apps`);
	expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict' });
	expect(cookie?.secure).toBe(host.url.startsWith('https:'));
	expect(cookie?.value).not.toContain(host.password);
});

test('an app, and a script whose error is shown and corrected', async ({ page, signIn }) => {
	await signIn();
	await page.getByRole('button', { name: 'New app' }).click();
	const dialog = page.getByRole('dialog', { name: 'New app' });
	await dialog.getByLabel('Name').fill('Not a name');
	await dialog.getByRole('button', { name: 'Create' }).click();
	await expect(dialog.getByRole('alert')).toContainText(/lower-case/);
	await dialog.getByLabel('Name').fill('shop');
	await dialog.getByRole('button', { name: 'Create' }).click();
	await expect(page).toHaveURL('/apps/shop/scripts');

	await createScript(page, 'shop', 'orders');
	await write(page, ORDERS.replace('201, body', '201 body'));
	await expect(page.locator('.cm-lint-marker-error')).toHaveCount(1);
	await page.getByRole('button', { name: 'Save', exact: true }).click();
	await expect(page.getByRole('alert')).toContainText("Expecting ',' to separate");
	await write(page, ORDERS);
	await expect(page.locator('.cm-lint-marker-error')).toHaveCount(0);
	await save(page, 2);

	const panel = page.getByRole('region', { name: 'Test' });
	await panel.getByLabel('Method').selectOption('POST');
	await panel.getByRole('radio', { name: 'JSON' }).check();
	await panel.getByRole('textbox', { name: /Body|JSON/ }).fill('{"id": "7", "total": 12}');
	await panel.getByRole('button', { name: 'Run' }).click();
	await expect(panel.getByText('"accepted"')).toBeVisible();
	await panel.getByRole('link', { name: /execution/i }).click();
	await expect(page.getByRole('heading', { name: 'Response' })).toBeVisible();
	await expect(page.getByRole('region', { name: 'Response body' })).toContainText('accepted');
});

test('triggers, one of which fails and makes a dead letter', async ({ page, signIn }) => {
	await signIn();
	await createScript(page, 'shop', 'check');
	await write(page, CHECK);
	await save(page, 2);

	await tab(page, /Triggers/).click();
	await page.getByRole('button', { name: 'New trigger' }).first().click();
	let dialog = page.getByRole('dialog', { name: 'New trigger' });
	await dialog.getByLabel('Runs the script').selectOption({ label: 'check' });
	await dialog.getByLabel('Schedule', { exact: true }).fill('61 * * * *');
	await expect(dialog.getByText(/minute/).last()).toBeVisible();
	await dialog.getByLabel('Schedule', { exact: true }).fill('0 3 1 1 *');
	await dialog.getByLabel('Time zone').fill('Europe/Berlin');
	await expect(dialog.getByRole('listitem').filter({ hasText: /January 1/ })).toHaveCount(5);
	await dialog.getByRole('button', { name: 'Create' }).click();
	await expect(dialog).toHaveCount(0);
	await expect(page.getByText('0 3 1 1 * · Europe/Berlin', { exact: true })).toBeVisible();

	await page.getByRole('button', { name: 'New trigger' }).click();
	dialog = page.getByRole('dialog', { name: 'New trigger' });
	await dialog.getByLabel('Fires on').selectOption({ label: 'Key-value change' });
	await dialog.getByLabel('Runs the script').selectOption({ label: 'check' });
	await dialog.getByLabel('Collection').fill('ord*');
	await expect(dialog.getByText('Matches 1 collection: orders')).toBeVisible();
	await dialog.getByText('When the script fails').click();
	await dialog.getByLabel('Attempts').fill('2');
	await dialog.getByRole('button', { name: 'Create' }).click();
	await expect(page.getByText('ord*', { exact: true })).toBeVisible();

	await tab(page, /Key-value/).click();
	// The collection that is shown is the dialog's default.
	await expect(page.getByRole('button', { name: 'Change 7' })).toBeVisible();
	await page.getByRole('button', { name: 'New key' }).click();
	dialog = page.getByRole('dialog', { name: 'New key' });
	await dialog.getByLabel('Key', { exact: true }).fill('8');
	await dialog.getByLabel('Value (JSON)').fill('{"id": "8", "total": -1}');
	await dialog.getByRole('button', { name: 'Save', exact: true }).click();
	await expect(dialog).toHaveCount(0);

	// Both pills: on the app's tab, and in the list of apps.
	const pill = page.getByRole('link', { name: 'Dead letters 1 unresolved' });
	await expect(async () => {
		await page.reload();
		await expect(pill).toBeVisible({ timeout: 1_000 });
	}).toPass();
	await page.getByRole('link', { name: 'Apps', exact: true }).first().click();
	const shop = page.getByRole('listitem').filter({ hasText: 'shop' });
	await expect(shop).toContainText('1 unresolved dead letters');
	await expect(shop.getByRole('img', { name: /runs? in the last hour/ })).toBeVisible();
});

test('the dead letter is replayed with another payload', async ({ page, signIn }) => {
	await signIn();
	await page.goto('/apps/shop/dead-letters');
	await expect(page.getByRole('cell', { name: 'check v2', exact: true })).toBeVisible();
	await page.getByRole('button', { name: /Details of kv orders/ }).click();
	await expect(page.getByRole('region', { name: 'Payload' })).toContainText('"total": -1');
	await expect(page.getByRole('region', { name: 'Last error' })).toContainText('negative total');
	await page.getByRole('link', { name: 'All attempts of this event' }).click();
	await expect(page.getByRole('button', { name: /Details of check, error/ })).toHaveCount(2);
	await page.goBack();

	await page.getByRole('button', { name: /Replay kv orders/ }).click();
	const dialog = page.getByRole('dialog', { name: /Replay for check/ });
	const payload = dialog.getByLabel('Payload (JSON)');
	await payload.fill('{ no');
	await expect(dialog.getByRole('button', { name: /Replay/ })).toBeDisabled();
	const edited = { collection: 'orders', key: '8', value: { id: '8', total: 8 } };
	await payload.fill(JSON.stringify(edited));
	await dialog.getByRole('button', { name: 'Replay with the edited payload' }).click();
	await expect(page.getByText('No unresolved dead letters')).toBeVisible();
	await expect(tab(page, /Dead letters/)).toHaveText('Dead letters');
	await page.getByLabel('Unresolved only').uncheck();
	await expect(page.getByRole('cell', { name: 'replayed', exact: true })).toBeVisible();

	await page.goto('/apps/shop/data?collection=checked');
	await expect(page.getByRole('button', { name: 'Change 8' })).toHaveText('8');
	await page.goto('/');
	await expect(page.getByRole('listitem').filter({ hasText: 'shop' })).not.toContainText(
		'unresolved'
	);
});

test('a script goes back to an older version', async ({ page, signIn }) => {
	await signIn();
	await page.goto('/apps/shop/scripts/orders');
	await write(page, '"broken"');
	await save(page, 3);
	await page.getByRole('link', { name: 'Versions' }).click();
	const second = page.getByRole('row').filter({ has: page.getByRole('cell', { name: /^2\b/ }) });
	await second.getByRole('button', { name: /Run|Roll back/ }).click();
	await page
		.getByRole('dialog')
		.getByRole('button', { name: /Run|Roll back/ })
		.click();
	await expect(page.getByRole('dialog')).toHaveCount(0);
	const answer = await page.request.post('/x/shop/orders', { data: { id: '9', total: 1 } });
	expect([answer.status(), await answer.json()]).toEqual([201, { accepted: '9' }]);
});

test('signing out ends the session', async ({ page, signIn, host }) => {
	await signIn();
	await page.goto('/apps/shop/settings');
	const cookies = await page.context().cookies(`${host.url}/api/v1/apps`);
	await page.getByRole('link', { name: 'Sign out', exact: true }).click();
	await expect(page).toHaveTitle(/Sign in/);
	await page.goto('/apps/shop/settings');
	await expect(page).toHaveTitle(/Sign in/);
	// The session has ended on the server too.
	await page.context().addCookies(cookies);
	const answer = await page.request.get('/api/v1/apps');
	expect(answer.status()).toBe(401);
});
