import { sveltekit } from '@sveltejs/kit/vite';
import { defineConfig } from 'vitest/config';

// `npm run dev` shows changes at once. Its API is that of a separately running host.
const host = process.env.PICLOUD_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
	plugins: [sveltekit()],
	build: { rolldownOptions: { checks: { pluginTimings: false } } },
	// The editor's completions are from docs/functions.json, which is outside of this folder.
	server: { fs: { allow: ['../docs'] }, proxy: { '/api': host, '/x': host, '/health': host } },
	test: { include: ['src/**/*.test.ts'] }
});
