// Untrusted bytes in the browser of a signed-in user: the responses of scripts and the contents of
// files must never act with the user's session.

import type { Page } from '@playwright/test';
import { expect, type Host, test } from './host';

let count = 0;

/** Returns code that creates an app with the session of the signed-in user. */
const act = (name: string) => `
	fetch('/api/v1/auth/me').then((answer) => answer.json()).then((me) => fetch('/api/v1/apps', {
		method: 'POST',
		headers: { 'content-type': 'application/json', 'x-csrf-token': me.csrf_token },
		body: '{"name":"${name}"}'
	}));
	document.title = 'it has run';`;

/** Deploys a script that responds with bytes of a type. Returns the app that the bytes try to create. */
async function hostile(host: Host, type: string, body: (act: string) => string) {
	const app = `hostile${Date.now()}x${count++}`;
	const made = `made-by-${app}`;
	const base64 = Buffer.from(body(act(made)), 'latin1').toString('base64');
	const source = `#{ headers: #{ "content-type": "${type}" }, body: encoding::base64_decode("${base64}") }`;
	await host.api('POST', '/apps', { name: app });
	await host.api('POST', `/apps/${app}/scripts`, { name: 'page', source });
	return { app, made, base64 };
}

async function apps(host: Host): Promise<string[]> {
	const page = await host.api<{ items: { name: string }[] }>('GET', '/apps?limit=200');
	return page.items.map((app) => app.name);
}

const PAGES = [
	{
		what: 'an SVG',
		type: 'image/svg+xml',
		body: (act: string) =>
			`<svg xmlns="http://www.w3.org/2000/svg"><script><![CDATA[${act}]]></script></svg>`
	},
	{
		what: 'HTML with one invalid byte',
		type: 'text/html',
		body: (act: string) => `\xff<script>${act}</script>`
	},
	{
		what: 'XHTML with one invalid byte in a comment',
		type: 'application/xhtml+xml; charset=latin1',
		body: (act: string) =>
			`<html xmlns="http://www.w3.org/1999/xhtml"><!-- \xff --><script><![CDATA[${act}]]></script></html>`
	},
	{
		what: 'HTML that calls itself an image',
		type: 'image/png',
		body: (act: string) => `\xff<script>${act}</script>`
	}
];

test.beforeEach(async ({ signIn }) => signIn());

/** Returns all URLs in the result. */
function addresses(page: Page): Promise<string[]> {
	const run = page.getByRole('region', { name: 'The run' });
	return run.evaluate((region) => {
		const named = region.querySelectorAll<HTMLElement>('[href], [src]');
		const of = (element: HTMLElement) =>
			element.getAttribute('href') ?? element.getAttribute('src') ?? '';
		return [...named].map(of);
	});
}

for (const { what, type, body } of PAGES) {
	test(`${what} in the test panel does not act for its reader`, async ({ page, host }) => {
		const { app, made } = await hostile(host, type, body);
		await page.goto(`/apps/${app}/scripts/page`);
		await page.getByRole('button', { name: 'Run', exact: true }).click();
		await page.getByText('Result: success.').waitFor();
		// A blob: URL always has the dashboard's origin.
		const found = await addresses(page);
		expect(found.filter((address) => address.startsWith('blob:'))).toEqual([]);
		expect(found.filter((address) => /^data:(?!image\/png)/.test(address))).toEqual([]);
		const download = page.getByRole('button', { name: 'Download' });
		if (await download.isVisible()) {
			const [saved] = await Promise.all([page.waitForEvent('download'), download.click()]);
			expect(saved.suggestedFilename()).toMatch(/^page/);
		}
		expect(page.context().pages()).toHaveLength(1);
		expect(await apps(host)).not.toContain(made);
	});
}

test('only the scripts of the dashboard run on its origin', async ({ page, host }) => {
	const { app, made, base64 } = await hostile(host, 'text/javascript', (act) => act);
	await page.goto(`/apps/${app}`);
	await page.getByRole('heading', { name: app }).first().waitFor();
	await host.api('POST', `/apps/${app}/scripts`, { name: 'any', source: '1' });
	const loaded = (address: string) =>
		page.evaluate(
			(address) =>
				new Promise<string>((resolve) => {
					const script = document.createElement('script');
					script.onload = () => resolve('loaded');
					script.onerror = () => resolve('refused');
					script.src = address;
					document.head.append(script);
				}),
			address
		);
	// One of the dashboard's own files, so that the check can fail.
	const own = await page.evaluate(
		() => document.querySelector('link[href*="/_app/"][href$=".js"]')?.getAttribute('href') ?? ''
	);
	expect(own).toMatch(/^\/_app\//);
	const module = `import(${JSON.stringify(own)}).then(() => 'loaded', () => 'refused')`;
	expect(await page.evaluate(module)).toBe('loaded');
	for (const address of [
		`/x/${app}/page`,
		`/_app/../x/${app}/page`,
		`/_app/%2e%2e/x/${app}/page`,
		`data:text/javascript;base64,${base64}`
	]) {
		expect(await loaded(address), address).toBe('refused');
	}
	// A document that the dashboard's origin creates inherits its policy.
	const title = await page.evaluate(
		(code) =>
			new Promise<string>((resolve) => {
				const html = new Blob([`<title>quiet</title><script>${code}</script>`], {
					type: 'text/html'
				});
				const frame = window.open(URL.createObjectURL(html));
				if (!frame) return resolve('not opened');
				frame.addEventListener('load', () => resolve(frame.document.title));
			}),
		act(made)
	);
	expect(title).toBe('quiet');
	expect(await apps(host)).not.toContain(made);
});

test('a file is saved, not shown and not run', async ({ page, host }) => {
	const { app, made } = await hostile(host, 'text/plain', () => '');
	const file = (name: string) => `/api/v1/apps/${app}/files/b/${name}`;
	for (const [name, type, content] of [
		['page', 'text/html', `<script>${act(made)}</script>`],
		['image.svg', 'image/svg+xml', PAGES[0]!.body(act(made))],
		['code.js', 'text/javascript', act(made)]
	] as const) {
		const put = await fetch(new URL(file(name), host.direct), {
			method: 'PUT',
			headers: { authorization: `Bearer ${host.key}`, 'content-type': type },
			body: content
		});
		expect(put.status).toBe(200);
		const [saved] = await Promise.all([
			page.waitForEvent('download'),
			page.evaluate((address) => {
				const link = document.createElement('a');
				link.href = address;
				document.body.append(link);
				link.click();
			}, file(name))
		]);
		expect(saved.url()).toContain(name);
	}
	const headers = await page.evaluate(async (address) => {
		const answer = await fetch(address);
		return [answer.headers.get('content-type'), answer.headers.get('x-content-type-options')];
	}, file('code.js'));
	expect(headers).toEqual(['application/octet-stream', 'nosniff']);
	expect(await apps(host)).not.toContain(made);
});
