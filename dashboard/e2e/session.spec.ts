// A session that expires while the user works.

import { expect, signInAs, test } from './host';

test('a typed change is not lost, and is sent after signing in again', async ({
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
	const dialog = page.getByRole('dialog', { name: 'Your session has expired' });
	await expect(dialog).toBeVisible();
	await page.keyboard.press('Escape');
	await expect(dialog).toBeVisible();
	await expect(dialog.getByLabel('Name', { exact: true })).toHaveValue('admin');
	// The name is known, so the password is the first field to fill in.
	await expect(dialog.getByLabel('Password', { exact: true })).toBeFocused();
	await signInAs(dialog, 'admin', host.password);
	await expect(dialog).toHaveCount(0);
	await expect(page.getByText('Saved', { exact: true })).toBeVisible();
	const app = await host.api<{ description: string }>('GET', `/apps/${name}`);
	expect(app.description).toBe('typed before it was over');
});

test('signing out asks before a typed change is lost', async ({ page, signIn, host }) => {
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
	await dialog.getByRole('button', { name: 'Leave and discard changes' }).click();
	await expect(page).toHaveTitle(/Sign in/);
	await expect(page).toHaveURL('/');
});

test('another site cannot change anything with the cookie', async ({ page, signIn, host }) => {
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

test('a page of a script cannot act for its visitor, and cannot block the dashboard', async ({
	page,
	signIn,
	host,
	behindCaddy
}) => {
	const name = `hostile${Date.now()}`;
	const source = `
		let large = "x";
		large.pad(4000, "x");
		let cookies = [];
		for n in 0..40 { cookies.push(\`c\${n}=\${large}; Path=/\`); }
		let code = \`
			const made = fetch("/api/v1/auth/me", { credentials: "include" })
				.then((answer) => answer.json())
				.then((me) => fetch("/api/v1/apps", {
					method: "POST",
					headers: { "content-type": "application/json", "x-csrf-token": me.csrf_token },
					body: JSON.stringify({ name: "made-by-a-page" })
				}));
			let stored = "refused";
			try { document.cookie = "picloud_session=planted; Path=/"; stored = "stored"; } catch {}
			made.then(() => "acted", () => "refused").then((did) => { document.title = did + " " + stored; });
		\`;
		#{ headers: #{ "content-type": "text/html", "set-cookie": cookies,
			"clear-site-data": \`"cookies"\`, "strict-transport-security": "max-age=1" },
			body: \`<title>waiting</title><script>\${code}</script>\` }`;
	await host.api('POST', '/apps', { name });
	await host.api('POST', `/apps/${name}/scripts`, { name: 'page', source });
	await signIn();
	await page.goto(`/x/${name}/page`);
	await expect(page).toHaveTitle('refused refused');
	const apps = await host.api<{ items: { name: string }[] }>('GET', '/apps?limit=200');
	expect(apps.items.map((app) => app.name)).not.toContain('made-by-a-page');
	// The cookies of the script apply only to its own paths, and the visitor is still signed in.
	const cookies = await page.context().cookies(`${host.url}/api/v1/auth/me`);
	expect(cookies.filter((cookie) => /^c\d+$/.test(cookie.name))).toEqual([]);
	const session = behindCaddy ? '__Host-picloud_session' : 'picloud_session';
	expect(cookies.map((cookie) => cookie.name)).toContain(session);
	await page.goto('/');
	await expect(page.getByRole('link', { name: 'Instance' })).toBeVisible();

	// Over TLS, a cookie that a page on a subdomain sets for this host signs no other user in.
	if (!behindCaddy) return;
	const own = cookies.find((cookie) => cookie.name === session);
	expect(own).toMatchObject({ path: '/', secure: true, httpOnly: true, sameSite: 'Strict' });
	for (const path of ['/', '/api/v1', '/api/v1/auth']) {
		const planted = { name: 'picloud_session', value: 'planted', domain: 'localhost', path };
		await page.context().addCookies([planted]);
	}
	const me = await page.evaluate(async () => (await fetch('/api/v1/auth/me')).status);
	expect(me).toBe(200);
});
