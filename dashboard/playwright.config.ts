import { existsSync } from 'node:fs';
import { defineConfig, devices } from '@playwright/test';
import type { Database } from './e2e/host';

// The real server, the real pages, a real browser. `make e2e` builds what is needed and
// starts the PostgreSQL; the tests start the servers.

const chromium = process.env.PICLOUD_CHROMIUM ?? '/usr/bin/chromium';
const isRoot = process.getuid?.() === 0;

/** What is looked at on each server: all on one, and on the others what depends on them. */
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
	// Two processors, of which the server needs one.
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
		// It needs a server that has nothing yet.
		{ name: `${name}-journey`, testMatch: /journey/, use },
		{ name, testMatch: files, testIgnore: /journey/, use }
	])
});
