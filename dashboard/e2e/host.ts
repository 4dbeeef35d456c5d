// The server of the tests: the real program on a fresh database, behind Caddy if a project asks for
// it. Everything that is started here is stopped here.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Locator, type Page, test as base } from '@playwright/test';
import { Client } from 'pg';
import { type Dns, startDns } from './dns';
import { startProvider } from './provider';

export type Database = 'sqlite' | 'postgres';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PROGRAM = process.env.PICLOUD_PROGRAM ?? path.join(ROOT, 'target/debug/picloud');
const KEY = 'owner-key-of-the-browser-tests-0123456789';
const PASSWORD = 'password of the browser tests';
/** The first start compiles the interpreter. */
const START_MS = 120_000;

export interface Host {
	/** The URL for browsers. */
	url: string;
	/** The URL of the server itself, without Caddy. */
	direct: string;
	/** The owner key. */
	key: string;
	/** The password of the first owner, `admin`. */
	password: string;
	/** The DNS server that the server asks. */
	dns: Dns;
	/** Stops the server. Its data stays. */
	stop(): Promise<void>;
	/** Starts the server again, on the same address and data. */
	restart(): Promise<void>;
	/** Sends a request to the API as the owner. Resolves to the JSON of the response. */
	api<Answer = unknown>(method: string, path: string, body?: unknown): Promise<Answer>;
}

/** Starts a program. Resolves when `ready` matches its output. */
function start(
	command: string,
	args: string[],
	env: Record<string, string>,
	cwd: string,
	ready: RegExp
): Promise<{ child: ChildProcess; found: RegExpMatchArray }> {
	const child = spawn(command, args, {
		cwd,
		env: { PATH: process.env.PATH ?? '', ...env },
		stdio: ['ignore', 'pipe', 'pipe']
	});
	return new Promise((resolve, reject) => {
		let output = '';
		const fail = (why: string) => reject(new Error(`${command} ${why}:\n${output}`));
		const timer = setTimeout(() => fail('did not become ready'), START_MS);
		const read = (chunk: Buffer) => {
			output += chunk.toString();
			const found = output.match(ready);
			if (!found) return;
			clearTimeout(timer);
			resolve({ child, found });
		};
		child.stdout.on('data', read);
		child.stderr.on('data', read);
		child.once('error', (error) => fail(String(error)));
		child.once('exit', (code) => fail(`ended with ${code}`));
	});
}

function ended(child: ChildProcess): Promise<void> {
	if (child.exitCode !== null) return Promise.resolve();
	return new Promise((resolve) => {
		child.once('exit', () => resolve());
		child.kill('SIGTERM');
	});
}

function freePort(): Promise<number> {
	return new Promise((resolve, reject) => {
		const server = createServer();
		server.once('error', reject);
		server.listen(0, '127.0.0.1', () => {
			const address = server.address();
			server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
		});
	});
}

/** Creates a PostgreSQL database. Returns its URL and a function that drops it. */
async function freshPostgres(): Promise<{ url: string; drop: () => Promise<void> }> {
	const server = process.env.PICLOUD_TEST_POSTGRES_URL;
	if (!server) throw new Error('PICLOUD_TEST_POSTGRES_URL is not set: use `make e2e`');
	const name = `picloud_browser_${process.pid}_${Date.now()}`;
	const run = async (statement: string) => {
		const client = new Client({ connectionString: server });
		await client.connect();
		await client.query(statement);
		await client.end();
	};
	await run(`CREATE DATABASE ${name}`);
	const url = new URL(server);
	url.pathname = `/${name}`;
	return { url: url.href, drop: () => run(`DROP DATABASE ${name} WITH (FORCE)`) };
}

export const test = base.extend<
	{ signIn: () => Promise<void> },
	{ database: Database; behindCaddy: boolean; host: Host }
>({
	database: ['sqlite', { option: true, scope: 'worker' }],
	behindCaddy: [false, { option: true, scope: 'worker' }],

	host: [
		async ({ database, behindCaddy }, use) => {
			const folder = await mkdtemp(path.join(tmpdir(), 'picloud-browser-'));
			const postgres = database === 'postgres' ? await freshPostgres() : undefined;
			const [direct, tls] = [await freePort(), await freePort()];
			const url = behindCaddy ? `https://localhost:${tls}` : `http://127.0.0.1:${direct}`;
			const provider = await startProvider(`${url}/api/v1/auth/oidc/callback`);
			const dns = await startDns();
			const env: Record<string, string> = {
				PICLOUD_DATA: path.join(folder, 'data'),
				PICLOUD_LISTEN: `127.0.0.1:${direct}`,
				PICLOUD_OWNER_KEY: KEY,
				PICLOUD_ADMIN_PASSWORD: PASSWORD,
				PICLOUD_PUBLIC_URL: url,
				PICLOUD_OIDC_ISSUER: provider.issuer,
				PICLOUD_OIDC_CLIENT_ID: provider.clientId,
				PICLOUD_OIDC_CLIENT_SECRET: provider.clientSecret,
				PICLOUD_OIDC_NAME: 'the test provider',
				PICLOUD_DNS_SERVER: dns.address,
				PICLOUD_TRUSTED_PROXIES: '127.0.0.1/32',
				PICLOUD_TRIGGER_RETRY_BASE_MS: '50',
				...(postgres ? { PICLOUD_DATABASE_URL: postgres.url } : {})
			};
			const serve = () => start(PROGRAM, ['serve'], env, folder, /serves on [^]*Ready\./);
			let server = await serve();
			const caddy = behindCaddy ? await startCaddy(folder, tls, `127.0.0.1:${direct}`) : undefined;
			await use({
				url,
				direct: `http://127.0.0.1:${direct}`,
				key: KEY,
				password: PASSWORD,
				dns,
				stop: () => ended(server.child),
				async restart() {
					server = await serve();
				},
				async api(method, path, body) {
					const answer = await fetch(`http://127.0.0.1:${direct}/api/v1${path}`, {
						method,
						headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
						body: body === undefined ? undefined : JSON.stringify(body)
					});
					if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
					return answer.status === 204 ? undefined : answer.json();
				}
			});
			if (caddy) await ended(caddy);
			await ended(server.child);
			await provider.close();
			await dns.close();
			await postgres?.drop();
			await rm(folder, { recursive: true, force: true });
		},
		{ scope: 'worker', timeout: START_MS }
	],

	baseURL: async ({ host }, use) => use(host.url),

	signIn: async ({ page, host }, use) => {
		await use(async () => {
			await page.goto('/');
			await signInAs(page, 'admin', host.password);
			await page.getByRole('link', { name: 'Instance' }).waitFor();
		});
	}
});

/** Fills in and submits the sign-in form that is shown. */
export async function signInAs(page: Page | Locator, name: string, password: string) {
	await page.getByLabel('Name', { exact: true }).fill(name);
	await page.getByLabel('Password', { exact: true }).fill(password);
	await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** Starts Caddy with our Caddyfile, on its own ports and with its own certificate authority. */
async function startCaddy(folder: string, port: number, upstream: string): Promise<ChildProcess> {
	const config = path.join(folder, 'Caddyfile');
	const options = [
		'admin off',
		'local_certs',
		'skip_install_trust',
		'default_bind 127.0.0.1',
		`https_port ${port}`,
		`http_port ${await freePort()}`
	];
	const ours = path.join(ROOT, 'caddy/Caddyfile');
	await writeFile(config, `{\n\t${options.join('\n\t')}\n}\nimport ${ours}\n`);
	const env = {
		HOME: folder,
		XDG_DATA_HOME: folder,
		XDG_CONFIG_HOME: folder,
		PICLOUD_UPSTREAM: upstream
	};
	const args = ['run', '--adapter', 'caddyfile', '--config', config];
	return (await start('caddy', args, env, folder, /serving initial configuration/)).child;
}

export { expect } from '@playwright/test';
