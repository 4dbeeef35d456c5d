// The domains of an app, on its settings page.

import { expect, test } from './host';

interface Domain {
	host: string;
	state: string;
	verified_by: string | null;
}

test('a domain is claimed, pending until its record is published, and released', async ({
	page,
	signIn,
	host
}) => {
	const app = `domains${Date.now()}`;
	const domain = `${app}.example.org`;
	await host.api('POST', '/apps', { name: app });
	const domains = async () =>
		(await host.api<{ items: Domain[] }>('GET', `/apps/${app}/domains`)).items;
	await signIn();
	await page.goto(`/apps/${app}/settings`);
	const section = page.getByRole('region', { name: 'Domains' });
	const claimed = section.getByRole('listitem', { name: domain });
	await expect(section.getByRole('listitem')).toHaveCount(0);

	// Another spelling of the same host.
	await section.getByLabel('New domain').fill(domain.toUpperCase());
	await section.getByRole('button', { name: 'Claim' }).click();
	await expect(claimed.getByText('pending', { exact: true })).toBeVisible();
	await expect(section.getByLabel('New domain')).toHaveValue('');
	await expect(claimed.getByText(`_picloud.${domain}`, { exact: true })).toBeVisible();
	await expect(claimed.getByText('TXT', { exact: true })).toBeVisible();
	const value = await claimed.getByText(/^picloud-verification=[0-9a-f]{32}$/).innerText();
	await claimed.getByRole('button', { name: 'Copy value' }).click();
	expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(value);

	// A record with another value proves nothing.
	host.dns.publish(`_picloud.${domain}`, 'picloud-verification=of-another-app');
	await claimed.getByRole('button', { name: `Verify ${domain}` }).click();
	await expect(section.getByRole('alert')).toContainText(`no TXT record _picloud.${domain}`);
	await expect(section.getByRole('alert')).toContainText(value);
	await expect(claimed.getByText('pending', { exact: true })).toBeVisible();
	expect(await domains()).toMatchObject([{ host: domain, state: 'pending', verified_by: null }]);

	host.dns.publish(`_picloud.${domain}`, value);
	await claimed.getByRole('button', { name: `Verify ${domain}` }).click();
	await expect(claimed.getByText('verified', { exact: true })).toBeVisible();
	await expect(section.getByRole('alert')).toHaveCount(0);
	// Nothing is left to do.
	await expect(claimed.getByText(value)).toHaveCount(0);
	await expect(claimed.getByRole('button')).toHaveText(['Release']);
	expect(await domains()).toMatchObject([{ host: domain, state: 'verified', verified_by: 'dns' }]);

	const dialog = page.getByRole('dialog', { name: 'Release the domain?' });
	await claimed.getByRole('button', { name: `Release ${domain}` }).click();
	await dialog.getByRole('button', { name: 'Cancel' }).click();
	await expect(claimed).toBeVisible();
	await claimed.getByRole('button', { name: `Release ${domain}` }).click();
	await dialog.getByRole('button', { name: 'Release' }).click();
	await expect(section.getByRole('listitem')).toHaveCount(0);
	expect(await domains()).toEqual([]);
});

test('a reserved domain is refused with the reason', async ({ page, signIn, host }) => {
	const app = `refused${Date.now()}`;
	await host.api('POST', '/apps', { name: app });
	await signIn();
	await page.goto(`/apps/${app}/settings`);
	const section = page.getByRole('region', { name: 'Domains' });
	await section.getByLabel('New domain').fill('localhost');
	await section.getByRole('button', { name: 'Claim' }).click();
	await expect(section.getByRole('alert')).toContainText('localhost is a host of PiCloud itself');
	// The user can correct the typed host.
	await expect(section.getByLabel('New domain')).toHaveValue('localhost');
	await expect(section.getByRole('listitem')).toHaveCount(0);
});
