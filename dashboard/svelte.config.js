import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import adapter from '@sveltejs/adapter-static';

/** Returns a hash of the sources, as a version that makes a build reproducible. */
function sourcesHash() {
	const entries = ['src', 'static'].flatMap((folder) =>
		readdirSync(folder, { recursive: true, withFileTypes: true })
	);
	const files = entries.filter((entry) => entry.isFile());
	const names = files.map((file) => path.join(file.parentPath, file.name));
	const hash = createHash('sha256');
	for (const name of ['package-lock.json', ...names.sort()]) {
		hash.update(name).update(readFileSync(name));
	}
	return hash.digest('hex').slice(0, 16);
}

/** @type {import('@sveltejs/kit').Config} */
export default {
	compilerOptions: { runes: true },
	kit: {
		// One page for every address: the host sends it for any path. It is compressed once, in
		// the build, and not for each request.
		adapter: adapter({ fallback: 'index.html', precompress: true }),
		csp: {
			mode: 'hash',
			directives: {
				'default-src': ['none'],
				// The host's header limits this to files below /_app/.
				'script-src': ['self'],
				// The editor adds its style sheet to the page.
				'style-src': ['self', 'unsafe-inline'],
				'connect-src': ['self'],
				'img-src': ['self', 'data:'],
				'font-src': ['self'],
				'form-action': ['self'],
				'base-uri': ['none']
			}
		},
		// A page that is open during an upgrade of the host is reloaded when a file is missing.
		version: { name: sourcesHash() }
	}
};
