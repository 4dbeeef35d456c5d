// The switch of a script's own endpoint, on the script's page.

import type { Page } from '@playwright/test';
import { expect, test } from './host';

/** Calls an endpoint without credentials. Returns the status, and the value or the error code. */
async function ask(url: string): Promise<[number, unknown]> {
	const answer = await fetch(url);
	const body = await answer.json();
	return [answer.status, body.error?.code ?? body];
}

function endpointSwitch(page: Page) {
	return page.getByRole('switch', { name: 'Own endpoint' });
}

test('an endpoint is turned off and on again', async ({ page, signIn, host }) => {
	const app = `endpoint${Date.now()}`;
	await host.api('POST', '/apps', { name: app });
	await host.api('POST', `/apps/${app}/scripts`, { name: 'hello', source: '"hello"' });
	const url = `${host.direct}/x/${app}/hello`;
	await signIn();
	await page.goto(`/apps/${app}/scripts/hello`);
	await expect(endpointSwitch(page)).toBeChecked();
	await expect(page.getByText('Anyone can call it.')).toBeVisible();
	expect(await ask(url)).toEqual([200, 'hello']);

	await endpointSwitch(page).click();
	await expect(endpointSwitch(page)).not.toBeChecked();
	await expect(page.getByText('Off: only routes and triggers run it.')).toBeVisible();
	await expect(page.getByRole('button', { name: 'Copy URL' })).toHaveCount(0);
	expect(await ask(url)).toEqual([404, 'endpoint_closed']);
	await page.reload();
	await expect(endpointSwitch(page)).not.toBeChecked();

	await endpointSwitch(page).click();
	await expect(endpointSwitch(page)).toBeChecked();
	await expect(page.getByText('Anyone can call it.')).toBeVisible();
	expect(await ask(url)).toEqual([200, 'hello']);
	await page.getByRole('button', { name: 'Copy URL' }).click();
	const copied = await page.evaluate(() => navigator.clipboard.readText());
	expect(copied).toBe(`${host.url}/x/${app}/hello`);
});

test('an endpoint that the app closes stays closed whatever its switch says', async ({
	page,
	signIn,
	host
}) => {
	const app = `closed${Date.now()}`;
	await host.api('POST', '/apps', { name: app });
	await host.api('POST', `/apps/${app}/scripts`, { name: 'hello', source: '"hello"' });
	await host.api('PUT', `/apps/${app}/ingress`, { endpoints: 'closed' });
	const url = `${host.direct}/x/${app}/hello`;
	await signIn();
	await page.goto(`/apps/${app}/scripts/hello`);
	await expect(endpointSwitch(page)).toBeChecked();
	await expect(page.getByText(/^Closed: .* the app closes its endpoints\.$/)).toBeVisible();
	expect(await ask(url)).toEqual([404, 'endpoint_closed']);
	await endpointSwitch(page).click();
	await expect(page.getByText('Off: only routes and triggers run it.')).toBeVisible();
	await endpointSwitch(page).click();
	await expect(page.getByText(/^Closed: /)).toBeVisible();
	expect(await ask(url)).toEqual([404, 'endpoint_closed']);
});
