import { existsSync } from 'node:fs';
import { defineConfig, devices } from '@playwright/test';
import type { Database } from './e2e/host';

// Tests the real server and the real pages in a real browser. `make e2e` builds them and starts
// PostgreSQL. The tests start the servers.

// The shell without a window needs a quarter less CPU than the whole browser.
const chromium =
	process.env.PICLOUD_CHROMIUM ??
	['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find((path) => existsSync(path)) ??
	'';
const isRoot = process.getuid?.() === 0;

/** The tests of each server: all on the first, and on the others those that depend on them. */
const SERVERS = [
	{
		name: 'sqlite',
		files: /\.spec\.ts$/,
		use: { database: 'sqlite' as const, behindCaddy: false }
	},
	{
		name: 'postgres',
		files: /session|accounts|domains|endpoint/,
		use: { database: 'postgres' as const, behindCaddy: false }
	},
	{
		name: 'caddy',
		files: /session|accounts/,
		use: { database: 'sqlite' as const, behindCaddy: true }
	}
];

export default defineConfig<object, { database: Database; behindCaddy: boolean }>({
	testDir: 'e2e',
	outputDir: 'test-results',
	// The machine has two processors, and the server needs one of them.
	workers: 1,
	retries: 0,
	forbidOnly: true,
	timeout: 90_000,
	expect: { timeout: 15_000 },
	reporter: [['list']],
	use: {
		...devices['Desktop Chrome'],
		channel: undefined,
		launchOptions: {
			executablePath: existsSync(chromium) ? chromium : undefined,
			args: [
				...(isRoot ? ['--no-sandbox'] : []),
				'--disable-gpu',
				'--disable-quic',
				'--no-first-run',
				'--disable-background-networking',
				'--disable-component-update',
				'--disable-sync'
			]
		},
		ignoreHTTPSErrors: true,
		trace: 'retain-on-failure',
		permissions: ['clipboard-read', 'clipboard-write']
	},
	projects: SERVERS.flatMap(({ name, files, use }) => [
		// The journey needs an empty server.
		{ name: `${name}-journey`, testMatch: /journey/, use },
		{ name, testMatch: files, testIgnore: /journey/, use }
	])
});
