import adapter from '@sveltejs/adapter-static';

/** @type {import('@sveltejs/kit').Config} */
export default {
	compilerOptions: { runes: true },
	kit: {
		// One page for every address: the host answers with it whatever is asked for. The
		// host compresses once, when it is built, so that nothing is done per request.
		adapter: adapter({ fallback: 'index.html', precompress: true }),
		csp: {
			mode: 'hash',
			directives: {
				'default-src': ['none'],
				'script-src': ['self'],
				// The editor makes its style sheet in the page.
				'style-src': ['self', 'unsafe-inline'],
				'connect-src': ['self'],
				'img-src': ['self', 'data:', 'blob:'],
				'font-src': ['self'],
				'form-action': ['self'],
				'base-uri': ['none']
			}
		},
		// What a new version of the host serves is loaded at the next navigation.
		version: { pollInterval: 0 }
	}
};
